"""The JSON codecs against protobuf's own, which is slower and laxer but knows the format."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from fastcms_common.errors import FieldError, Malformed
from gateway.decoding import compile_filler, parse
from gateway.encoding import compile_encoder
from tests.contract.gateway import made_up

EVERYTHING = made_up.modules()[0].Everything
ENCODE = compile_encoder(EVERYTHING.DESCRIPTOR)
FILL = compile_filler(EVERYTHING.DESCRIPTOR)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(
    lambda moment: moment.isoformat().replace("+00:00", "Z")
)


def whole(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high)


flat: dict[str, st.SearchStrategy[Any]] = {
    "text": texts,
    "maybe_text": texts,
    "flag": st.booleans(),
    "maybe_flag": st.booleans(),
    "int32_value": whole(32, signed=True),
    "int64_value": whole(64, signed=True),
    "uint32_value": whole(32, signed=False),
    "uint64_value": whole(64, signed=False),
    "sint64_value": whole(64, signed=True),
    "fixed32_value": whole(32, signed=False),
    "maybe_int64": whole(64, signed=True),
    "double_value": st.floats(allow_nan=False, allow_infinity=False),
    "float_value": st.floats(-(2.0**127), 2.0**127, width=32),
    "binary": st.sampled_from(["", "AA==", "/+8="]),
    "colour": st.sampled_from(["COLOUR_UNSPECIFIED", "COLOUR_RED", "COLOUR_BLUE"]),
    "time": moments,
    "duration": st.integers(-10_000, 10_000).map(lambda millis: f"{millis / 1000:.3f}s"),
    "texts": st.lists(texts, max_size=3),
    "int64_values": st.lists(whole(64, signed=True), max_size=3),
    "colours": st.lists(st.sampled_from(["COLOUR_RED", "COLOUR_BLUE"]), max_size=3),
    "times": st.lists(moments, max_size=2),
    "labels": st.dictionaries(texts, texts, max_size=3),
    "switches": st.dictionaries(whole(32, signed=True).map(str), st.booleans(), max_size=3),
    "calledSo": texts,
}
objects = st.recursive(
    st.fixed_dictionaries({}, optional=flat),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "child": inner,
            "children": st.lists(inner, max_size=2),
            "text": texts,
            "right": whole(32, signed=True),
        },
    ),
    max_leaves=4,
)


def decoded(text: bytes) -> tuple[Any, list[FieldError]]:
    message = EVERYTHING()
    errors: list[FieldError] = []
    FILL(message, parse(text), text, "", errors)
    return message, errors


@given(objects)
def test_a_good_body_is_read_as_protobuf_reads_it(value: dict[str, Any]):
    message, errors = decoded(orjson.dumps(value))
    assert errors == []
    assert message == json_format.ParseDict(value, EVERYTHING())


@given(objects)
def test_what_is_written_is_read_as_the_same_by_both(value: dict[str, Any]):
    message = json_format.ParseDict(value, EVERYTHING())
    text = ENCODE(message)
    assert json_format.Parse(text, EVERYTHING()) == message
    # What cannot be sent (a member of each choice, as null) is not, so that it can be read again.
    again, errors = decoded(text)
    assert errors == []
    assert again == message


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts | st.sampled_from(sorted(flat)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_json_of_any_kind_is_read_as_python_reads_it(value: Any):
    text = json.dumps(value).encode()
    expected = json.loads(
        text, parse_int=lambda digits: int(digits) if -(2**63) <= int(digits) < 2**64 else float(digits)
    )
    assert parse(text) == expected


@given(values)
def test_any_json_either_fits_or_is_told_field_by_field(value: Any):
    text = json.dumps(value).encode()
    _, errors = decoded(text)
    assert all(error.field and error.message.endswith(".") for error in errors)


names = sorted(field.name for field in EVERYTHING.DESCRIPTOR.fields)


@given(st.dictionaries(st.sampled_from([*names, "calledSo"]), values, max_size=6))
def test_a_body_that_protobuf_refuses_is_refused(value: dict[str, Any]):
    text = json.dumps(value).encode()
    _, errors = decoded(text)
    if errors:
        return
    # A json field is any JSON here and base64 there, and a bare list stands for a message here only.
    for name in ("json", "json_values", "listed"):
        value.pop(name, None)
    if any(isinstance(item, dict) and item.keys() & {"json", "json_values", "listed"} for item in _objects(value)):
        return
    json_format.ParseDict(value, EVERYTHING())


def _objects(value: Any) -> list[Any]:
    found = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            found.append(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return found


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_malformed(text: bytes):
    try:
        value = parse(text)
    except Malformed:
        return
    assert value == json.loads(text)


@given(st.dictionaries(texts, values, min_size=1, max_size=4), st.data())
def test_a_repeated_key_is_always_found(value: dict[str, Any], data: st.DataObject):
    key = data.draw(st.sampled_from(sorted(value)))
    inner = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    text = inner[:-1] + f", {json.dumps(key)}: 1}}"
    try:
        parse(text.encode())
    except Malformed:
        return
    raise AssertionError(f"{text} has {key} twice")
