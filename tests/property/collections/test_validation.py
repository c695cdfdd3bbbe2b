"""The fast way and the thorough way accept the same bodies, and nothing but a named refusal ever comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from collections_service.models import RULES, Collection, FieldDefinition
from collections_service.validation import Validator
from fastcms_common.errors import Invalid, Malformed
from fastcms_common.storage.values import check_value
from tests.property.collections.settings import many

F = FieldDefinition
THINGS = Collection(
    "0",
    "things",
    "base",
    (
        F("f1", "title", "text", required=True, max_length=5),
        F("f2", "n", "number", min=-5, max=2.0**62),
        F("f3", "ok", "bool"),
        F("f4", "mail", "email"),
        F("f5", "link", "url"),
        F("f6", "day", "date"),
        F("f7", "at", "datetime"),
        F("f8", "kind", "select", values=("a", "b"), default="a", required=True),
        F("f9", "tags", "select", values=("a", "b", "c"), max_select=2),
        F("f10", "meta", "json"),
        F("f11", "place", "geopoint"),
        F("f12", "code", "text", pattern="[a-z]+", min_length=2),
        F("f13", "seen", "autodate"),
    ),
    {},
    dict.fromkeys(RULES),
    (),
    "",
    "",
)
VALIDATOR = Validator(THINGS)
NAMES = [field.name for field in THINGS.fields]
LIKELY = st.sampled_from(
    [
        *("x", "", "abc", "A", "a@example.com", "https://example.com", "2026-01-01", "2026-01-01T00:00:00Z", "a", "\0"),
        *(0, 1, 1.0, -6, 2**53 + 1, 2**63 - 1, 2**63, 10**30, True, False, None),
        *([], ["a"], ["a", "b"], ["a", "a"], ["a", "b", "c"], {}, {"lat": 1, "lon": 2}, {"lat": 91, "lon": 0}),
    ]
)
JSON = st.recursive(
    LIKELY | st.text(max_size=6) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
DATA = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), LIKELY | JSON, max_size=8)


@st.composite
def validators(draw: st.DrawFn) -> Validator:
    """Validators of any order of fields, whichever of them are required or hidden."""
    fields = tuple(
        replace(field, hidden=draw(st.booleans()), required=field.type != "autodate" and draw(st.booleans()))
        for field in draw(st.permutations(THINGS.fields))
    )
    return Validator(replace(THINGS, fields=fields), sees_hidden=draw(st.booleans()))


def outcome(validate: Any, *arguments: Any) -> Any:
    """What was accepted, or the names of what was refused."""
    try:
        new = validate(*arguments)
    except Invalid as error:
        return sorted((field.field, field.message) for field in error.fields)
    except Malformed:
        return "malformed"
    check_value(new.values, "")
    return new.values, new.given


def only_meta(default: Any) -> Validator:
    """What holds a required field of type json to its schema."""
    return Validator(replace(THINGS, fields=(F("f10", "meta", "json", required=True, default=default),)))


@many
@given(validators(), DATA, st.none() | st.text(max_size=8))
@example(only_meta(None), {"meta": None}, None)
@example(only_meta(1), {"meta": None}, None)
@example(VALIDATOR, dict.fromkeys(NAMES, "\ud800"), None)
def test_both_ways_accept_the_same(validator: Validator, data: dict[str, Any], id: str | None) -> None:
    body: dict[str, Any] = {"data": data} if id is None else {"data": data, "id": id}
    text = json.dumps(body).encode("utf-8", "surrogatepass")
    fast = outcome(validator.new_record, text)
    slow = outcome(validator.new_record_of, json.loads(text))
    assert fast == slow


@many
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_accepted_or_refused(body: bytes) -> None:
    outcome(VALIDATOR.new_record, body)


@many
@given(DATA)
@example(dict.fromkeys(NAMES, "\ud800"))
def test_any_change_is_accepted_or_refused_by_name(data: dict[str, Any]) -> None:
    stepped = {name + sign: value for (name, value), sign in zip(data.items(), ["", "+", "-"] * 3, strict=False)}
    refused: Invalid | None = None
    try:
        patch = VALIDATOR.patch_of({"data": stepped})
    except Invalid as error:
        refused = error
    if refused is not None:
        assert all(field.field.startswith("data.") for field in refused.fields)
        return
    check_value(patch.values, "")
    for field, _, amount in patch.steps:
        assert field.type == "number" or field.many
        check_value(amount, "")
