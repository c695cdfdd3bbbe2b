"""A checked change of a record as one atomic step of storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from collections_service.models import REVISION, UPDATED, Collection, FieldDefinition, new_revision
from collections_service.rules.combine import conjunction
from collections_service.validation import Patch, Sign
from fastcms_common.errors import FieldError, Invalid
from fastcms_common.storage import ALL, Change, Compare, Document, Field, Or, Query, Value, ge, is_null, le
from fastcms_common.storage.values import INT_MAX, INT_MIN


@dataclass(frozen=True, slots=True)
class Step:
    """The change, and what has to hold of the record at the moment it is made for its limits to be kept."""

    change: Change
    where: Query


def step_of(collection: Collection, patch: Patch, doc: Document, moment: str, revision: str) -> Step:
    """What the patch does to a record that was last seen as `doc`. Invalid where a limit would be broken."""
    values: dict[str, Any] = {key: value for key, value in patch.values.items() if value is not None}
    unset = [(key,) for key, value in patch.values.items() if value is None]
    values |= {item.id: moment for item in collection.fields if item.type == "autodate" and item.on_update}
    stamped = {**values, UPDATED: moment, REVISION: revision}
    inc: dict[str, int | float] = {}
    add: dict[str, list[Any]] = {}
    remove: dict[str, list[Any]] = {}
    conditions: list[Query] = []
    errors: list[FieldError] = []
    for item, sign, amount in patch.steps:
        if item.many:
            (add if sign == "+" else remove)[item.id] = amount
            conditions.append(_list_step(item, sign, amount, doc, errors))
        else:
            inc[item.id] = amount if sign == "+" else -amount
            conditions.append(_number_step(item, inc[item.id], doc, errors))
    if errors:
        raise Invalid(errors)
    change = Change(set=stamped, unset=unset, inc=inc, add_to_set=add, remove=remove)
    return Step(change, conjunction(conditions))


def incoming(patch: Patch, doc: Document) -> dict[str, Any]:
    """The values that the patch would give the record, as rules see them in `@request.data`: those that are set, and
    what the steps come to."""
    values = dict(patch.values)
    for item, sign, amount in patch.steps:
        held = doc.get(item.id)
        if item.many:
            kept = list(held or [])
            more = [value for value in amount if value not in kept]
            values[item.id] = kept + more if sign == "+" else [value for value in kept if value not in amount]
        else:
            values[item.id] = (held or 0) + (amount if sign == "+" else -amount)
    return values


def taken_out(collection: Collection, patch: Patch, before: Document, now: Document) -> Document:
    """The record as it is now without what the patch had done to it. What others have done to it stays: values that are
    not the patch's, and steps; nor does it leave the limits of a field."""
    doc = dict(now)
    ours = {key for key, value in patch.values.items() if now.get(key) == value}
    alone = incoming(patch, before)
    for item, sign, amount in patch.steps:
        held = now.get(item.id)
        if (held or None) == (alone[item.id] or None):
            ours.add(item.id)
        elif held is not None:
            doc[item.id] = _unstepped(item, sign, amount, before.get(item.id), held)
    for key in ours:
        if key in before:
            doc[key] = before[key]
        else:
            doc.pop(key, None)
    stamps = {UPDATED, REVISION, *(item.id for item in collection.fields if item.type == "autodate")}
    if all(doc.get(key) == before.get(key) for key in {*doc, *before} - stamps):
        return before
    return {**doc, REVISION: new_revision()}


def _unstepped(item: FieldDefinition, sign: Sign, amount: Any, before: Any, now: Any) -> Any:
    """The value now without a step that was made of the one before."""
    if not item.many:
        value = now - amount if sign == "+" else now + amount
        least, most = (value if bound is None else bound for bound in (item.min, item.max))
        return max(least, min(most, value))
    known = before or []
    if sign == "+":
        return [value for value in now if value not in amount or value in known] or now[: int(item.required)]
    return [*now, *(value for value in known if value in amount and value not in now)][: item.max_select]


def _number_step(item: FieldDefinition, amount: int | float, doc: Document, errors: list[FieldError]) -> Query:
    """The condition under which the sum stays inside the field's bounds whatever others do meanwhile."""
    held = doc.get(item.id) or 0
    total = held + amount
    # What the value may be before the step, exact where the sum of large numbers is rounded.
    least = None if item.min is None else _before(item.min, amount)
    most = None if item.max is None else _before(item.max, amount)
    if any(isinstance(number, int) and not INT_MIN <= number <= INT_MAX for number in (amount, total)):
        errors.append(FieldError(f"data.{item.name}", "would have more than 64 bits"))
    elif least is not None and (held < least or total < (item.min or 0)):
        errors.append(FieldError(f"data.{item.name}", f"would be below {item.min:g}"))
    elif most is not None and (held > most or total > (item.max or 0)):
        errors.append(FieldError(f"data.{item.name}", f"would be above {item.max:g}"))
    if least is None and most is None:
        return ALL
    inside = conjunction(
        ([ge((item.id,), least)] if least is not None else []) + ([le((item.id,), most)] if most is not None else [])
    )
    # A record without a value counts as 0.
    fits = (least is None or least <= 0) and (most is None or most >= 0)
    return Or(inside, is_null((item.id,))) if fits else inside


def _before(bound: float, amount: int | float) -> int | float:
    """The value from which the step ends at the bound: exact, as far as storage can be asked for whole numbers."""
    value = (int(bound) if float(bound).is_integer() else bound) - amount
    return value if INT_MIN <= value <= INT_MAX else float(value)


def _list_step(item: FieldDefinition, sign: Sign, amount: list[Any], doc: Document, errors: list[FieldError]) -> Query:
    """The condition under which the list keeps its limits whatever others do meanwhile."""
    held = list(doc.get(item.id) or [])
    most = item.max_select or 1
    if sign == "+":
        result = held + [value for value in amount if value not in held]
        if len(result) > most:
            errors.append(FieldError(f"data.{item.name}", f"would have more than {most} values"))
        room = le(Field((item.id,), length=True), most - len(amount))
        # Near the limit it depends on which values are there already: the list has to be the one that was looked at.
        return Or(room, _same_list(item, held))
    result = [value for value in held if value not in amount]
    if item.required and not result:
        errors.append(FieldError(f"data.{item.name}", "must keep at least one value"))
    return _same_list(item, held) if item.required else ALL


def _same_list(item: FieldDefinition, held: list[Any]) -> Query:
    """The field holds exactly these values."""
    if not held:
        return Or(is_null((item.id,)), Compare(Field((item.id,), length=True), "=", Value(0)))
    present: list[Query] = [Compare(Field((item.id,)), "=", Value(value), any=True) for value in held]
    return conjunction([Compare(Field((item.id,), length=True), "=", Value(len(held))), *present])
