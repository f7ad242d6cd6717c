"""The example programs of Triton's Python client, unchanged."""

from doors import grpc_models, http_models
from repository import Repository
from scenario import Scenario, Script
from suites import CLIENT_SHM, REPEAT

SUITE = "examples"
EXPLICIT = ("--model-control-mode=explicit",)
# What the image clients print of a result: its value, its index, and the label of that index.
CLASS = r"\d\.\d+ \(\d+\) = [A-Z]"


def example(file: str, *arguments: str, name: str = "", **more) -> Script:
    return Script(name or file, file, ("-v", *arguments), example=True, **more)


def image(file: str, protocol: tuple[str, ...], *ways: tuple[str, ...]) -> list[Script]:
    """The image clients, on the picture that the suites use."""
    scripts = []
    for way in ways:
        arguments = ("-m", "densenet_onnx", "-s", "INCEPTION", "-c", "3", "-b", "1", *way, *protocol)
        name = " ".join((file, *protocol[:2], *way))
        picture = "{triton}/qa/images/vulture.jpeg"
        scripts.append(Script(name, file, (*arguments, picture), example=True, prints=CLASS))
    return scripts


def examples() -> list[Scenario]:
    return [
        Scenario(SUITE, http_models, tuple(http_examples()), "http", CLIENT_SHM),
        Scenario(
            SUITE,
            http_models,
            (example("simple_http_model_control.py", prints="PASS: model control"),),
            "http",
            EXPLICIT,
        ),
        Scenario(SUITE, grpc_examples_models, tuple(grpc_examples()), "grpc", CLIENT_SHM),
        Scenario(
            SUITE,
            grpc_models,
            (example("simple_grpc_model_control.py", prints="PASS: model control"),),
            "grpc",
            EXPLICIT,
        ),
    ]


def http_examples() -> list[Script]:
    return [
        example("simple_http_aio_infer_client.py", prints="PASS"),
        example("simple_http_async_infer_client.py"),
        example("simple_http_cudashm_client.py"),
        example("simple_http_health_metadata.py"),
        example("simple_http_infer_client.py"),
        example(
            "simple_http_infer_client.py",
            "-u",
            "localhost:8000/base_path",
            name="simple_http_infer_client.py below a path that is not there",
            prints="POST /base_path/v2/models/simple/infer",
            fails=True,
        ),
        example("simple_http_sequence_sync_infer_client.py"),
        example("simple_http_shm_client.py", prints="PASS"),
        example("simple_http_shm_string_client.py", prints="PASS"),
        example("simple_http_string_infer_client.py"),
        example("reuse_infer_objects_client.py"),
        example("ensemble_image_client.py"),
        *image("image_client.py", (), (), ("-a",)),
    ]


def grpc_examples() -> list[Script]:
    grpc = ("-i", "grpc", "-u", "localhost:8001")
    return [
        example("grpc_client.py", prints="PASS"),
        example("grpc_explicit_byte_content_client.py", prints="PASS"),
        example("grpc_explicit_int8_content_client.py", prints="PASS"),
        example("grpc_explicit_int_content_client.py", prints="PASS"),
        example("simple_grpc_aio_infer_client.py", prints="PASS"),
        example("simple_grpc_aio_sequence_stream_infer_client.py"),
        example("simple_grpc_async_infer_client.py", prints="PASS"),
        example("simple_grpc_cudashm_client.py"),
        example("simple_grpc_custom_args_client.py", prints="PASS"),
        example("simple_grpc_custom_repeat.py", prints="PASS"),
        example("simple_grpc_health_metadata.py"),
        example("simple_grpc_infer_client.py", prints="PASS"),
        example("simple_grpc_infer_client.py", "-C", "deflate", name="simple_grpc_infer_client.py -C deflate"),
        example("simple_grpc_infer_client.py", "-C", "gzip", name="simple_grpc_infer_client.py -C gzip"),
        example("simple_grpc_keepalive_client.py", prints="PASS"),
        example("simple_grpc_sequence_stream_infer_client.py"),
        example("simple_grpc_sequence_sync_infer_client.py"),
        example("simple_grpc_shm_client.py", prints="PASS"),
        example("simple_grpc_shm_string_client.py", prints="PASS"),
        example("simple_grpc_string_infer_client.py", prints="PASS"),
        example("reuse_infer_objects_client.py", *grpc),
        *image("image_client.py", grpc, (), ("-a",), ("-a", "--streaming")),
        *image("grpc_image_client.py", (), (), ("-a",), ("-a", "--streaming")),
    ]


def grpc_examples_models(repository: Repository) -> None:
    grpc_models(repository)
    repository.native("repeat_int32", REPEAT)

