"""Steps that would leave a field's bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collections_service.models import RULES, Collection, FieldDefinition
from collections_service.patches import Step, step_of
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
