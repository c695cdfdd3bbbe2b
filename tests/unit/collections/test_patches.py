"""Steps that would leave a field's bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from collections_service.models import RULES, Collection, FieldDefinition
from collections_service.patches import Step, step_of, taken_out
from collections_service.validation import Patch
from fastcms_common.errors import Invalid
from fastcms_common.storage import matches


@pytest.mark.parametrize("most", [2.0**60, 0.5, 1e300])
@pytest.mark.parametrize("held", [None, 0, 1, -1, 0.5, 2**60, -(2**60), 2.0**60, -(2.0**60), 2**60 - 1, 1e200])
@pytest.mark.parametrize("amount", [1, -1, 0.5, -0.5, 2**60, -(2**60), 2**53 + 1, 2**63 - 1, -(2**63), 2**63])
def test_a_step_that_is_not_refused_is_one_that_can_be_made(held: float | None, amount: float, most: float) -> None:
    """Where the sum of a float is rounded, 2.0**60 + 1 looks as if it were inside the bounds."""
    number = FieldDefinition("n", "n", "number", min=-most, max=most)
    things = Collection("0", "things", "base", (number,), {}, dict.fromkeys(RULES), (), "", "")
    doc = {} if held is None else {"n": held}
    patch = Patch({}, [(number, "+", amount)], frozenset({"n"}))
    named, step = _outcome(lambda: step_of(things, patch, doc, "", ""))
    if step is not None:
        assert matches(step.where, doc)
        return
    assert named == ["data.n"]
    total = (held or 0) + amount
    assert not -most <= total <= most or isinstance(held, float) or not -(2**63) <= total < 2**63 or amount == 2**63


def _outcome(work: Callable[[], Step]) -> tuple[list[str], Step | None]:
    """The fields that are refused, and the step where none is."""
    try:
        return [], work()
    except Invalid as refused:
        return [error.field for error in refused.fields], None


NUMBER = FieldDefinition("n", "n", "number")
TAGS = FieldDefinition("tags", "tags", "select", values=("a", "b", "c", "d"), max_select=4)
THINGS = Collection(
    "0",
    "things",
    "base",
    (NUMBER, TAGS, FieldDefinition("title", "title", "text"), FieldDefinition("at", "at", "autodate", on_update=True)),
    {},
    dict.fromkeys(RULES),
    (),
    "",
    "",
)
BEFORE = {"id": "1", "created": "0", "updated": "1", "rev": "r1", "at": "1"}


@pytest.mark.parametrize("before", [{}, {"n": 1, "tags": ["a", "b"], "title": "t"}, {"n": 0.1, "tags": []}])
@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"title": "new"}, []),
        ({"title": None, "n": 7, "tags": ["c"]}, []),
        ({}, [(NUMBER, "+", 0.2)]),
        ({"title": "new"}, [(NUMBER, "-", 3), (TAGS, "+", ["b", "c"])]),
        ({}, [(TAGS, "-", ["a", "c"])]),
    ],
)
def test_a_patch_is_taken_out_again(before: dict[str, Any], values: dict[str, Any], steps: list[Any]) -> None:
    before = {**BEFORE, **before}
    patch = Patch(values, steps, frozenset())
    after = _patched(before, patch, "2", "r2")
    assert taken_out(THINGS, patch, before, after) == before


def test_what_others_did_meanwhile_stays() -> None:
    before = {**BEFORE, "n": 1, "tags": ["a", "b"], "title": "t"}
    others = Patch({"title": "theirs"}, [(NUMBER, "+", 10), (TAGS, "+", ["d"])], frozenset())
    ours = Patch({}, [(NUMBER, "+", 5), (TAGS, "-", ["a"])], frozenset())
    after = _patched(_patched(before, others, "2", "r2"), ours, "3", "r3")
    left = taken_out(THINGS, ours, before, after)
    assert left.pop("rev") not in ("r1", "r2", "r3")
    assert left == {
        "id": "1",
        "created": "0",
        "updated": "3",
        "at": "3",
        "n": 11,
        "tags": ["b", "d", "a"],
        "title": "theirs",
    }


def _patched(doc: dict[str, Any], patch: Patch, moment: str, revision: str) -> dict[str, Any]:
    """What storage makes of the patch."""
    change = step_of(THINGS, patch, doc, moment, revision).change
    after = {**doc, **{key: value for (key,), value in change.set.items()}}
    for (key,) in change.unset:
        after.pop(key, None)
    for (key,), amount in change.inc.items():
        after[key] = doc.get(key, 0) + amount
    for (key,), items in change.add_to_set.items():
        after[key] = [*doc.get(key, []), *(item for item in items if item not in doc.get(key, []))]
    for (key,), items in change.remove.items():
        if key in doc:
            after[key] = [item for item in doc[key] if item not in items]
    return after
