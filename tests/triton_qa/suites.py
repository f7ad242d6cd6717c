"""Triton's suites: which models, flags and variables each of them has in its `test.sh`, said again for
Despina. Ports, file names and names of tests are the suites' own."""

from repository import CPU, Repository
from scenario import Scenario, Script, Tests

SHARED_MEMORY = {"TEST_SYSTEM_SHARED_MEMORY": "1"}
CLIENT_SHM = ("--allow-client-shm=true",)


def generated(group: str, pattern: str = "onnx*"):
    """All models of one generator."""
    return lambda repository: repository.generated(group, pattern, CPU)


def with_and_without_shared_memory(suite: str, models, file: str) -> list[Scenario]:
    """A suite that has a switch for it. `L0_infer_zero` has one too, but the client cannot create memory of
    no bytes."""
    return [
        Scenario(suite, models, (Tests(file),)),
        Scenario(suite, models, (Tests(file),), "shm", CLIENT_SHM, environment=SHARED_MEMORY),
    ]


def inference() -> list[Scenario]:
    return [
        *with_and_without_shared_memory(
            "L0_infer", generated("qa_model_repository"), "infer_test.py"
        ),
        *with_and_without_shared_memory(
            "L0_infer_variable", generated("qa_variable_model_repository"), "infer_variable_test.py"
        ),
        *with_and_without_shared_memory(
            "L0_infer_reshape", generated("qa_reshape_model_repository"), "infer_reshape_test.py"
        ),
        Scenario(
            "L0_infer_zero",
            generated("qa_identity_model_repository"),
            (Tests("infer_zero_test.py"),),
        ),
    ]


def shared_memory() -> list[Scenario]:
    """Every test has a server of its own, as in `test.sh`."""
    suite = "L0_shared_memory"
    file = "shared_memory_test.py"
    tests = [
        "invalid_create_shm",
        "valid_create_set_register",
        "unregister_before_register",
        "unregister_after_register",
        "reregister_after_register",
        "unregister_after_inference",
        "register_after_inference",
        "too_big_shm",
        "mixed_raw_shm",
        "unregisterall",
        "infer_offset_out_of_bound",
        "infer_byte_size_out_of_bound",
        "infer_integer_overflow",
        "register_out_of_bound",
        "register_reserved_names",
        "register_invalid_shm_key",
        "python_client_leak",
    ]
    scenarios = []
    for protocol in ("http", "grpc"):
        client = {"CLIENT_TYPE": protocol}

        def one(variant, models, names, flags=CLIENT_SHM, client=client, protocol=protocol):
            step = Tests(file, tuple(names), alone=True)
            return Scenario(suite, models, (step,), f"{protocol}{variant}", flags, environment=client)

        unregister = ["during_inference_single_req", "during_inference_multiple_req", "after_inference"]
        scenarios += [
            one("/disabled", simple, ["SharedMemoryTest.test_client_shm_disabled_by_default"], ()),
            one("", simple, [f"SharedMemoryTest.test_{test}" for test in tests]),
            one(
                "/delayed",
                delayed,
                [
                    f"TestSharedMemoryUnregister.test_unregister_shm_{test}_{protocol}"
                    for test in unregister
                ],
            ),
            one("/large", large, ["SharedMemoryTest.test_large_shm_register_offset"]),
        ]
    return scenarios


def simple(repository: Repository) -> None:
    repository.example("simple")


def large(repository: Repository) -> None:
    repository.generated("qa_model_repository", "onnx_int32_int32_int32", CPU)
    repository.only_version("onnx_int32_int32_int32", 1)


def delayed(repository: Repository) -> None:
    """A model that takes 15 s; the tests look at what becomes of regions meanwhile, not at its outputs."""
    source = repository.python_models() / "execute_delayed_model"
    repository.stand_in(source, "simple")
    repository.append("simple", 'parameters { key: "execute_delay_ms" value { string_value: "15000" } }')


def compression() -> list[Scenario]:
    suite = "L0_data_compression"
    algorithms = ("deflate", "gzip", "")
    steps = []
    for client in ("simple_http_infer_client.py", "simple_http_aio_infer_client.py"):
        for request in algorithms:
            for response in algorithms:
                if request == response:
                    continue
                arguments = ["-v"]
                if request:
                    arguments += ["--request-compression-algorithm", request]
                if response:
                    arguments += ["--response-compression-algorithm", response]
                name = f"{client}, {request or 'plain'} there, {response or 'plain'} back"
                steps.append(Script(name, client, tuple(arguments), example=True))
    return [Scenario(suite, simple, tuple(steps))]


def strings() -> list[Scenario]:
    def string_io(repository: Repository) -> None:
        repository.generated("qa_identity_model_repository", "onnx_zero_1_object", CPU)
        repository.stand_in(repository.python_models() / "string_identity", "string_identity")
        repository.replace("string_identity", "[ 1 ]", "[ 8 ]")

    def nullchar(repository: Repository) -> None:
        repository.stand_in(repository.python_models() / "string", "string")
        repository.generated("qa_identity_model_repository", "onnx_nobatch_zero_1_object", CPU)

    def client(model: str, *arguments: str) -> Script:
        name = f"nullchar_string_client.py {model} {arguments[1] if arguments else 'http'}"
        return Script(name, "nullchar_string_client.py", ("-m", model, *arguments, "-v"))

    grpc = ("-i", "grpc", "-u", "localhost:8001")
    models = ("string", "onnx_nobatch_zero_1_object")
    return [
        Scenario("L0_string_io", string_io, (Tests("string_client_test.py"),)),
        Scenario(
            "L0_nullchar_string",
            nullchar,
            tuple(client(model, *way) for model in models for way in ((), grpc)),
        ),
    ]


def small() -> list[Scenario]:
    def output_name(repository: Repository) -> None:
        repository.generated("qa_identity_model_repository", "onnx_nobatch_zero_1_float32", CPU)
        for name in ("libtorch_nobatch_zero_1_float32", "plan_nobatch_zero_1_float32"):
            repository.copy("onnx_nobatch_zero_1_float32", name)

    def scalars(repository: Repository) -> None:
        repository.generated("qa_scalar_models", "onnx_scalar_*")

    return [
        Scenario("L0_output_name", output_name, (Tests("output_name_test.py"),)),
        Scenario("L0_scalar_io", scalars, (Tests("scalar_test.py"),)),
    ]


def responses() -> list[Scenario]:
    """Any number of responses, and none that is waited for."""

    def repeat(repository: Repository, is_decoupled: bool) -> None:
        repository.native("repeat_int32", REPEAT)
        if not is_decoupled:
            repository.replace("repeat_int32", "decoupled: true", "decoupled: false")

    def slow(repository: Repository) -> None:
        repository.native("custom_identity_int32", SLOW)

    decoupled = ("one_to_none", "one_to_one", "one_to_many", "response_order", "no_streaming", "wrong_shape")
    one_each = ("grpc", "http", "grpc_async", "grpc_async_cancel")
    cancelled = (
        "grpc_async_infer",
        "grpc_stream_infer",
        "aio_grpc_async_infer",
        "aio_grpc_stream_infer",
        "grpc_async_infer_cancellation_at_step_start",
        "grpc_async_infer_response_complete_during_cancellation",
        "grpc_async_infer_cancellation_before_finish_0",
        "grpc_async_infer_cancellation_before_finish_1",
        "grpc_async_infer_cancellation_before_response_complete_and_process_after_final_response",
    )
    return [
        Scenario(
            "L0_decoupled",
            lambda repository: repeat(repository, True),
            (Tests("decoupled_test.py", tuple(f"DecoupledTest.test_{test}" for test in decoupled)),),
        ),
        Scenario(
            "L0_decoupled",
            lambda repository: repeat(repository, False),
            (Tests("decoupled_test.py", tuple(f"NonDecoupledTest.test_{test}" for test in one_each)),),
        ),
        Scenario(
            "L0_request_cancellation",
            slow,
            (
                Tests(
                    "grpc_cancellation_test.py",
                    tuple(f"GrpcCancellationTest.test_{test}" for test in cancelled),
                    alone=True,
                ),
            ),
        ),
    ]


# The model of several suites that gives each element of `IN` back as a response.
REPEAT = """backend: "repeat"
max_batch_size: 0
model_transaction_policy { decoupled: true }
input [
  { name: "IN" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "DELAY" data_type: TYPE_UINT32 dims: [ -1 ] },
  { name: "WAIT" data_type: TYPE_UINT32 dims: [ 1 ] }
]
output [
  { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] },
  { name: "IDX" data_type: TYPE_UINT32 dims: [ 1 ] }
]
"""
# A model that takes ten seconds.
SLOW = """backend: "identity"
max_batch_size: 1024
input { name: "INPUT0" data_type: TYPE_INT32 dims: [ -1 ] }
output { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ -1 ] }
instance_group { kind: KIND_CPU }
parameters { key: "execute_delay_ms" value { string_value: "10000" } }
"""


def parameters() -> list[Scenario]:
    suite = "L0_parameters"

    def echo(repository: Repository) -> None:
        """Takes the input that the suite's model `parameter` takes; it cannot answer with parameters, as
        only the Python backend sees them."""
        identity = repository.environment.triton / "qa" / suite / "model_repository" / "identity"
        repository.native("parameter", (identity / "config.pbtxt").read_text())

    def identities(repository: Repository) -> None:
        source = repository.python_models() / "identity_fp32"
        repository.stand_in(source, "identity_fp32")
        repository.copy("identity_fp32", "identity_bytes")
        repository.replace("identity_bytes", "TYPE_FP32", "TYPE_STRING")

    def one(test: str, *flags: str) -> Scenario:
        step = Tests("parameters_test.py", (f"InferenceParametersTest.{test}",))
        return Scenario(suite, echo, (step,), flags=flags)

    pattern = "--{}-header-forward-pattern={}"
    mine = [pattern.format(protocol, "MY_HEADER.*") for protocol in ("grpc", "http")]
    all_fields = [pattern.format(protocol, ".*") for protocol in ("grpc", "http")]
    return [
        one("test_params"),
        one("test_params_reserved_rejected"),
        one("test_headers", *mine),
        one(
            "test_grpc_header_forward_pattern_case_sensitive",
            pattern.format("grpc", "(?-i)MY_HEADER.*"),
        ),
        one("test_headers_reserved_rejected", *all_fields),
        *(
            Scenario(
                suite,
                identities,
                (Tests("class_count_test.py"),),
                protocol,
                environment={"CLIENT_TYPE": protocol},
            )
            for protocol in ("http", "grpc")
        ),
    ]
