"""The comments of the protos."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from gateway.comments import comments_of, read_comments
from tests.contract.gateway import made_up

FILES = sorted(str(path.relative_to(made_up.PROTOS)) for path in made_up.PROTOS.glob("fastcms/**/*.proto"))


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """What protoc itself says, file by file."""
    target = tmp_path_factory.mktemp("protos") / "descriptors"
    arguments = [f"-I{made_up.PROTOS}", f"-I{distribution('googleapis-common-protos').locate_file('')}"]
    arguments += [
        f"-I{Path(protoc.__file__).parent / '_proto'}",
        "--include_source_info",
        f"--descriptor_set_out={target}",
    ]
    assert protoc.main(["protoc", *arguments, *FILES]) == 0
    files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    return {file.name: file for file in files}


def named(file: Any, path: list[int]) -> str | None:
    """The full name of what a path of source info points to; None for what has no name or is no concern of ours."""
    names = [file.package]
    here = file
    for number, index in zip(path[::2], path[1::2], strict=False):
        attribute = here.DESCRIPTOR.fields_by_number[number].name
        if attribute not in ("message_type", "nested_type", "enum_type", "service", "field", "method", "value"):
            return None
        here = getattr(here, attribute)[index]
        names.append(here.name)
    return ".".join(names) if path and len(path) % 2 == 0 else None


def comments_in(file: Any) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        name = named(file, list(location.path))
        if name and location.leading_comments:
            lines = location.leading_comments.rstrip("\n").split("\n")
            yield name, "\n".join(line.removeprefix(" ") for line in lines)


@pytest.mark.parametrize("name", FILES)
def test_comments_are_those_that_protoc_finds(name: str, described: dict[str, descriptor_pb2.FileDescriptorProto]):
    assert dict(comments_of(name)) == dict(comments_in(described[name]))


def test_comments_end_on_the_line_before():
    found = read_comments(
        """
        package p;
        // Not of the message.

        // Of the message.
        // Two lines; with "marks" { in it.
        message A { // Not of the field.
          // Of the field.
          repeated string a = 1 [(x) = {values: "// no comment" max: 1}];
          oneof choice {
            // Of a member.
            map<string, int32> b = 2;
          }
          message B { string c = 1; }
        }
        // Of the service.
        service S {
          // Of the rpc.
          rpc R(A) returns (A) { option (y) = { get: "/{a}" }; }
          rpc Q(A) returns (A);
        }
        """
    )
    assert found == {
        "p.A": 'Of the message.\nTwo lines; with "marks" { in it.',
        "p.A.a": "Of the field.",
        "p.A.b": "Of a member.",
        "p.S": "Of the service.",
        "p.S.R": "Of the rpc.",
    }


def test_a_file_that_is_not_there_has_no_comments():
    assert comments_of("made_up/v1/made_up.proto") == {}
