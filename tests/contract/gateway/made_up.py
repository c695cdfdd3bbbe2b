"""A proto service that the gateway has never heard of, compiled in the test run: `protos/made_up/v1/made_up.proto`."""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

from google.protobuf.descriptor import ServiceDescriptor
from grpc_tools import protoc

HERE = Path(__file__).parent / "protos"
PROTOS = Path(__file__).parents[3] / "protos"
GOOGLEAPIS = distribution("googleapis-common-protos").locate_file("")


def compile_proto(source: Path, root: Path, into: Path) -> None:
    """Generates the stubs of one proto file."""
    includes = [f"-I{path}" for path in (root, PROTOS, GOOGLEAPIS)]
    includes.append(f"-I{Path(protoc.__file__).parent / '_proto'}")
    arguments = ["protoc", *includes, f"--python_out={into}", f"--grpc_python_out={into}", str(source)]
    assert protoc.main(arguments) == 0


@cache
def modules() -> tuple[ModuleType, ModuleType]:
    """The generated modules: messages, and stubs."""
    folder = Path(tempfile.mkdtemp(prefix="made-up-"))
    compile_proto(HERE / "made_up/v1/made_up.proto", HERE, folder)
    sys.path.append(str(folder))
    return import_module("made_up.v1.made_up_pb2"), import_module("made_up.v1.made_up_pb2_grpc")


def service() -> ServiceDescriptor:
    """The descriptor of the made-up service."""
    descriptor: ServiceDescriptor = modules()[0].DESCRIPTOR.services_by_name["MadeUpService"]
    return descriptor
