"""JSON to messages."""

from __future__ import annotations

from typing import Any

import pytest

from fastcms.auth.v1.auth_pb2 import LoginRequest
from fastcms.collections.v1.collections_pb2 import CreateCollectionRequest
from fastcms_common.errors import FieldError, Malformed
from gateway.decoding import compile_filler, parse
from tests.contract.gateway import made_up


def filled(kind: Any, text: bytes) -> tuple[Any, dict[str, str]]:
    message = kind()
    errors: list[FieldError] = []
    compile_filler(kind.DESCRIPTOR)(message, parse(text), text, "", errors)
    return message, {error.field: error.message for error in errors}


def everything(text: bytes) -> tuple[Any, dict[str, str]]:
    return filled(made_up.modules()[0].Everything, text)


def test_every_bad_field_is_named_at_once():
    _, errors = filled(
        CreateCollectionRequest,
        b'{"name": 1, "zz": 2, "schema": {"fields": [{"name": "a"}, {"type": 5, "max": "x"}]},'
        b' "indexes": [{"fields": [1]}]}',
    )
    assert errors == {
        "name": "Must be a string.",
        "zz": "Is not a known field.",
        "schema.fields[1].type": "Must be a string.",
        "schema.fields[1].max": "Must be a number.",
        "indexes[0].fields[0]": "Must be a string.",
    }


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b'{"int32_value": 2147483648}', "int32_value"),
        (b'{"int32_value": -2147483649}', "int32_value"),
        (b'{"int64_value": 9223372036854775808}', "int64_value"),
        (b'{"int64_value": 18446744073709551616}', "int64_value"),
        (b'{"int64_value": "1"}', "int64_value"),
        (b'{"uint32_value": -1}', "uint32_value"),
        (b'{"uint64_value": 18446744073709551616}', "uint64_value"),
        (b'{"int32_value": 1.5}', "int32_value"),
        (b'{"int32_value": true}', "int32_value"),
        (b'{"int32_value": 1e300}', "int32_value"),
        (b'{"float_value": 1e39}', "float_value"),
        (b'{"double_value": "1"}', "double_value"),
        (b'{"flag": 1}', "flag"),
        (b'{"flag": "true"}', "flag"),
        (b'{"colour": 1}', "colour"),
        (b'{"colour": "GREEN"}', "colour"),
        (b'{"binary": "a"}', "binary"),
        (b'{"binary": "\xc3\xa4"}', "binary"),
        (b'{"time": "2026-02-30T00:00:00Z"}', "time"),
        (b'{"time": "2026-01-01"}', "time"),
        (b'{"time": 0}', "time"),
        (b'{"duration": "3"}', "duration"),
        (b'{"texts": "x"}', "texts"),
        (b'{"texts": [null]}', "texts[0]"),
        (b'{"times": ["x"]}', "times[0]"),
        (b'{"labels": []}', "labels"),
        (b'{"labels": {"a": 1}}', "labels.a"),
        (b'{"switches": {"x": true}}', "switches.x"),
        (b'{"child": []}', "child"),
        (b'{"child": {"child": {"flag": 0}}}', "child.child.flag"),
        (b'{"children": [{}, 1]}', "children[1]"),
        (b'{"left": "a", "right": 1}', "right"),
        (b'{"renamed": "a"}', "renamed"),
        (b'{"listed": "a"}', "listed"),
        (b'{"listed": [{"id": 1}]}', "listed.items[0].id"),
        (b'{"json_values": 1}', "json_values"),
        (b"[]", "body"),
        (b"1", "body"),
        (b"null", "body"),
    ],
)
def test_a_value_that_does_not_fit_is_named(text: bytes, field: str):
    _, errors = everything(text)
    assert list(errors) == [field]
    assert errors[field].endswith(".")


def test_a_good_body_fills_the_message():
    message, errors = everything(
        b'{"text": "a", "int64_value": 9007199254740993, "uint64_value": 18446744073709551615, "double_value": 1,'
        b' "int32_value": 5.0, "time": "2026-01-01T01:00:00+01:00", "labels": {"a": "b"}, "switches": {"-1": true},'
        b' "calledSo": "x", "listed": [{"id": "1"}], "colours": ["COLOUR_RED"], "binary": "AAE=", "duration": "1.5s"}'
    )
    assert errors == {}
    assert message.int64_value == 2**53 + 1
    assert message.uint64_value == 2**64 - 1
    assert message.double_value == 1.0
    assert message.int32_value == 5
    assert message.time.ToJsonString() == "2026-01-01T00:00:00Z"
    assert dict(message.switches) == {-1: True}
    assert message.renamed == "x"
    assert message.listed.items[0].id == "1"
    assert list(message.colours) == [1]
    assert message.binary == b"\x00\x01"
    assert message.duration.ToJsonString() == "1.500s"


def test_null_is_absent():
    message, errors = everything(
        b'{"text": null, "maybe_text": null, "flag": null, "time": null, "child": null, "texts": null, "labels": null,'
        b' "json": null, "children": null, "left": null, "right": 1}'
    )
    assert errors == {}
    assert message == made_up.modules()[0].Everything(right=1)


def test_an_empty_object_is_present():
    message, _ = everything(b'{"child": {}, "maybe_text": "", "maybe_int64": 0}')
    assert message.HasField("child")
    assert message.HasField("maybe_text")
    assert message.HasField("maybe_int64")


def test_json_fields_keep_the_text_that_was_sent():
    inexact = b'{ "a" : 12345678901234567890123, "b": [1.10, 1e2] }'
    message, errors = everything(
        b'{"json": ' + inexact + b', "children": [{"child": {"json": 1.10}}], "json_values": [1.10, null]}'
    )
    assert errors == {}
    assert message.json == inexact
    assert message.children[0].child.json == b"1.10"
    assert list(message.json_values) == [b"1.10", b"null"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{} {}",
        b'{"email": NaN}',
        b'{"email": Infinity}',
        b'{"email": "\\ud800"}',
        b'{"email": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"email": 1' + b"0" * 400 + b"}",
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b"[" * 100_000,
        b'{"email": "a", "email": "b"}',
        b'{"a": {"email": "a", "email": "b"}}',
        b'{"email": "a", "\\u0065mail": "b"}',
        b'[{"a\\"": 1, "a\\"": 2}]',
    ],
)
def test_what_cannot_be_read_is_malformed(text: bytes):
    with pytest.raises(Malformed):
        parse(text)


@pytest.mark.parametrize(
    "text", [b"[" * 32 + b"]" * 32, b'{"a\\"": "\\"", "b": {"a\\"": "\\\\"}}', b'{"a": {"a": {}}, "b": ["a", "a"]}']
)
def test_what_can_be_read_is_not_malformed(text: bytes):
    assert parse(text) is not None


def test_excluded_fields_and_headers_are_unknown():
    message = LoginRequest()
    errors: list[FieldError] = []
    body = b'{"email": "a", "password": "b"}'
    compile_filler(LoginRequest.DESCRIPTOR, {"email"})(message, parse(body), body, "", errors)
    assert [error.field for error in errors] == ["email"]
    assert message.password == "b"
