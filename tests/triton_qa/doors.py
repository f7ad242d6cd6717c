"""Triton's suites of its two front doors, `L0_http` and `L0_grpc`."""

from repository import CPU, Repository
from scenario import Refusal, Scenario, Tests
from suites import CLIENT_SHM

# The models of both suites that need a sequence batcher: stand-ins, for the index to have their names.
SEQUENCES = ("simple_sequence", "simple_dyna_sequence", "simple_string_dyna_sequence")
SEQUENCE = """backend: "identity"
max_batch_size: 8
input { name: "INPUT" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUTPUT" data_type: TYPE_INT32 dims: [ 1 ] }
"""


def http_models(repository: Repository) -> None:
    """The repository that the image of the suites has for `L0_http`, with stand-ins."""
    repository.example("simple", "simple_string")
    repository.stand_in(repository.examples() / "simple_identity", "simple_identity")
    for name in SEQUENCES:
        repository.native(name, SEQUENCE)
    repository.classifier()


def grpc_models(repository: Repository) -> None:
    http_models(repository)
    repository.example("simple_int8")


def http() -> list[Scenario]:
    return [
        Scenario(
            "L0_http",
            http_models,
            (
                Tests("python_http_aio_test.py"),
                Tests("http_client_plugin_test.py"),
                basic_auth("http"),
            ),
            flags=CLIENT_SHM,
        ),
        Scenario(
            "L0_http",
            http_test_models,
            (Tests("http_test.py", seconds=300),),
            flags=("--model-control-mode=explicit", "--load-model=*"),
        ),
        Scenario("L0_http", generate_models, (Tests("generate_endpoint_test.py"),)),
        *http_restricted(),
        *http_size_limits(),
        Scenario(
            "L0_http",
            lambda repository: repository.example("simple"),
            (Tests("http_request_many_chunks.py", seconds=600),),
            flags=("--model-control-mode=explicit", "--load-model=simple", *CLIENT_SHM),
        ),
    ]


def basic_auth(protocol: str) -> Tests:
    """Named, as the file does not load without what it is for."""
    names = (f"{protocol.upper()}BasicAuth{kind}Test.test_client_call" for kind in ("", "Async"))
    return Tests(f"{protocol}_basic_auth_test.py", tuple(names))


def http_test_models(repository: Repository) -> None:
    group = "qa_identity_model_repository"
    for name in ("1_float32", "1_object", "1_float16", "3_float32"):
        repository.generated(group, f"onnx_zero_{name}", CPU)
    repository.copy("onnx_zero_1_object", "onnx_zero_1_object_1_element")
    repository.replace("onnx_zero_1_object_1_element", "-1", "1", 1)
    repository.copy("onnx_zero_1_float32", "onnx_zero_1_float32_queue")
    repository.append(
        "onnx_zero_1_float32_queue",
        "dynamic_batching { max_queue_delay_microseconds: 1000000 preferred_batch_size: [ 8 ] "
        "default_queue_policy { max_queue_size: 1 } }",
    )
    repository.stand_in(repository.examples() / "simple_identity", "simple_identity")
    repository.copy("simple_identity", "simple_identity_int64")
    repository.replace("simple_identity_int64", "TYPE_STRING", "TYPE_INT64")


def generate_models(repository: Repository) -> None:
    """The suite's model repeats its prompt as often as a parameter says, which only the Python backend
    sees. The stand-in gives it back once."""
    source = repository.python_models() / "generate_models" / "mock_llm"
    repository.stand_in(source, "mock_llm")
    repository.replace("mock_llm", "decoupled: True", "decoupled: False")


def restricted(scenario, prefix: str, kind: str, test: Tests, groups: tuple[str, str]) -> list[Scenario]:
    """Two sets of flags that are refused, and one that the tests are written for."""
    return [
        scenario(
            (Refusal("one group twice", f"{kind} 'health' can not be specified in multiple config groups"),),
            (f"{prefix}=model-repository,health:k1=v1", f"{prefix}=metadata,health:k2=v2"),
        ),
        scenario(
            (Refusal("unknown group", f"unknown restricted {kind} 'model-reposit'"),),
            (f"{prefix}=model-reposit,health:k1=v1", f"{prefix}=metadata,health:k2=v2"),
        ),
        scenario((test,), tuple(f"{prefix}={group}" for group in groups)),
    ]


def http_restricted() -> list[Scenario]:
    def scenario(steps, flags) -> Scenario:
        return Scenario("L0_http", http_models, steps, flags=flags)

    return restricted(
        scenario,
        "--http-restricted-api",
        "api",
        Tests("http_restricted_api_test.py"),
        ("model-repository:admin-key=admin-value", "inference,metadata:infer-key=infer-value"),
    )


def http_size_limits() -> list[Scenario]:
    file = "http_input_size_limit_test.py"

    def models(repository: Repository) -> None:
        repository.generated("qa_identity_model_repository", "onnx_zero_1_float32", CPU)
        repository.stand_in(repository.examples() / "simple_identity", "simple_identity")

    def tests(*names: str) -> Tests:
        return Tests(file, tuple(f"InferSizeLimitTest.test_{name}" for name in names), seconds=300)

    default = tests(
        "default_limit_raw_binary",
        "default_limit_json",
        "large_string_in_json",
        "default_limit_compressed",
        "json_dtype_size_expansion_exceeds_limit_error",
        "no_leak_on_invalid_inference_header_length",
    )
    larger = tests("large_input_raw_binary", "large_input_json", "large_input_compressed")
    # What the tests compress is spaces, a thousand to one.
    ratio = "limits: { decompression_ratio: 2000 }\n"
    says = "--http-max-input-size must be greater than 0"
    return [
        Scenario("L0_http", models, (default,), settings=ratio),
        Scenario(
            "L0_http", models, (larger,), flags=(f"--http-max-input-size={2**27}",), settings=ratio
        ),
        *(
            Scenario(
                "L0_http",
                models,
                (Refusal(f"--http-max-input-size={size}", says),),
                flags=(f"--http-max-input-size={size}",),
            )
            for size in (0, -1024)
        ),
    ]


def grpc() -> list[Scenario]:
    def unit_test_models(repository: Repository) -> None:
        repository.example("simple")
        repository.stand_in(repository.python_models() / "string_identity", "string_identity")
        repository.replace("string_identity", "dims: [ 1 ]", "dims: [ -1 ]")

    def scenario(steps, flags) -> Scenario:
        return Scenario("L0_grpc", grpc_models, steps, flags=flags)

    plugin = Tests("grpc_client_plugin_test.py")
    aio = Tests("python_grpc_aio_test.py")
    return [
        Scenario("L0_grpc", grpc_models, (aio, plugin, basic_auth("grpc")), flags=CLIENT_SHM),
        Scenario(
            "L0_grpc",
            unit_test_models,
            (
                Tests(
                    "python_unit_test.py",
                    (
                        "GrpcTest.test_duplicate_output_names_rejected",
                        "GrpcTest.test_bytes_contents_many_elements_serialization",
                    ),
                ),
            ),
        ),
        *restricted(
            scenario,
            "--grpc-restricted-protocol",
            "protocol",
            Tests(
                "python_unit_test.py",
                tuple(
                    f"RestrictedProtocolTest.test_{test}"
                    for test in ("sanity", "model_repository", "health", "infer", "stream_infer")
                ),
            ),
            ("model-repository:admin-key=admin-value", "inference,health:infer-key=infer-value"),
        ),
    ]
