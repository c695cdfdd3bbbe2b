"""Validators, compiled once for each version of a collection (docs/adr/0011).

A body that is sound is decoded and checked for its types by msgspec in one go; only where that fails is it read again
slowly, to name every bad field at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from collections_service.decoding import decode, refuse_json
from collections_service.models import EMAIL_VISIBILITY, Collection, FieldDefinition
from collections_service.values import BadValue, Check, check_of, json_type, json_value, sentence, then
from fastcms_common.errors import FieldError, Invalid
from fastcms_common.ids import is_uuid, new_id

Sign: TypeAlias = Literal["+", "-"]
Number = TypeVar("Number", int, float)
NOT_KNOWN = "is not a field of this collection"
FIXED = "is set by the server"
LACKS = "lacks what only admins can give"
WAITS = "cannot be taken while a field that it needs is being added; try again in a moment"
# Unknown names that one body is told of: there may be millions, in a body of many records.
MAX_UNKNOWN = 100
_JSON_BUT_NULL: Any = dict[str, Any] | list[Any] | str | int | float | bool
# What msgspec makes of a value that is not of the type; of half a surrogate pair where no text belongs, the last one.
_UNFIT = (msgspec.ValidationError, OverflowError, UnicodeError)


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A sound body of a create: an id of the caller's own, and the values by storage key (null ones left out)."""

    id: str | None
    values: dict[str, Any]
    # Names that the body held, for `:isset`.
    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class Patch:
    """A sound body of a change: values to set and steps to take, by field."""

    values: dict[str, Any]
    steps: list[tuple[FieldDefinition, Sign, Any]]
    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What one field's values are held to."""

    field: FieldDefinition
    type: Any
    check: Check | None
    sentence: str

    def value(self, value: Any) -> Any:
        """The value as it is stored; BadValue. For values that have not been through msgspec's types."""
        if value is None:
            if self.field.required:
                raise BadValue("is required")
            return None
        # The places inside JSON are named by its own check, and so are numbers that are none.
        if self.field.type == "json":
            return json_value(value)
        try:
            converted = msgspec.convert(value, self.type, strict=True)
        except _UNFIT:
            raise BadValue(_why(value, self.sentence)) from None
        return converted if self.check is None else self.check(converted)


def rule_of(field: FieldDefinition, pending: FieldDefinition | None = None) -> FieldRule:
    """What the values of a field are held to, where a change of it is pending to both."""
    if pending is not None:
        return _rule_of_both(field, pending)
    return FieldRule(field, json_type(field), check_of(field), sentence(field))


def _rule_of_both(field: FieldDefinition, pending: FieldDefinition) -> FieldRule:
    common = tuple(value for value in field.values if value in pending.values)
    both = replace(
        field,
        required=field.required or pending.required,
        min=_most(field.min, pending.min),
        max=_least(field.max, pending.max),
        min_length=_most(field.min_length, pending.min_length),
        max_length=_least(field.max_length, pending.max_length),
        pattern=field.pattern or pending.pattern,
        # Where they have no value in common, one that nobody can know.
        values=common or (field.values and (new_id(),)),
        max_select=_least(field.max_select, pending.max_select),
    )
    rule = rule_of(both)
    if pending.pattern not in (None, both.pattern):
        first, second = rule.check, check_of(replace(both, pattern=pending.pattern))
        rule = replace(rule, check=first and second and then(first, second))
    try:
        rule.value(field.default)
    except BadValue:
        # What would fall back on such a default is not taken either.
        rule = replace(rule, field=replace(both, required=True, default=None))
    return rule


def _most(*bounds: Number | None) -> Number | None:
    return max((bound for bound in bounds if bound is not None), default=None)


def _least(*bounds: Number | None) -> Number | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _why(value: Any, otherwise: str) -> str:
    """A sentence for values that no field takes, else the field's own."""
    try:
        json_value(value)
    except BadValue as error:
        return error.message
    return otherwise


class Validator:
    """The checks of one collection's record bodies. For those who do not see hidden fields there are none: they cannot
    be set, stepped or guessed at, and are told of like any unknown name."""

    def __init__(self, collection: Collection, *, sees_hidden: bool = True) -> None:
        own = [field for field in collection.fields if field.type != "autodate"]
        if collection.type == "auth":
            own.append(EMAIL_VISIBILITY)
        pending = {field.id: field for field in collection.pending}
        rules = [
            _rule_of_both(field, pending.pop(field.id)) if field.id in pending else rule_of(field) for field in own
        ]
        self._rules = {rule.field.name: rule for rule in rules if sees_hidden or not rule.field.hidden}
        known = [field for field in collection.fields if sees_hidden or not field.hidden]
        self._fixed = {field.name for field in (*collection.system_fields, *known)} - self._rules.keys()
        unseen = [rule.field for rule in rules if rule.field.name not in self._rules]
        self._defaults = {field.id: field.default for field in unseen if field.default is not None}
        # Why no new record is taken, whatever it says.
        self._refusal = LACKS if any(field.required and field.default is None for field in unseen) else None
        if pending:
            self._refusal = WAITS
        data = msgspec.defstruct(
            "Data",
            [_member(rule) for rule in self._rules.values()],
            forbid_unknown_fields=True,
            kw_only=True,  # required fields may stand behind others
            rename=self._names(),
        )
        body = msgspec.defstruct(
            "Body", [("data", data), ("id", str | msgspec.UnsetType, msgspec.UNSET)], forbid_unknown_fields=True
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body)
        self._plan = [(rule.field, rule.check) for rule in self._rules.values()]

    def _names(self) -> Mapping[str, str]:
        return {rule.field.id: rule.field.name for rule in self._rules.values()}

    def new_record(self, body: bytes) -> NewRecord:
        """The body `{"data": {..}, "id"?}` of a create. Malformed, or Invalid naming every bad field."""
        try:
            sound = self._decoder.decode(body)
            id = None if sound.id is msgspec.UNSET else sound.id
            if self._refusal is None and (id is None or is_uuid(id)):
                return self._finish(id, sound.data)
        except (msgspec.DecodeError, msgspec.ValidationError, BadValue, RecursionError):
            pass
        return self.new_record_of(decode(body))

    def _finish(self, id: str | None, data: Any) -> NewRecord:
        values: dict[str, Any] = dict(self._defaults)
        given = []
        for field, check in self._plan:
            value = getattr(data, field.id)
            if value is msgspec.UNSET:
                value = field.default
            else:
                given.append(field.name)
                if value is not None and check is not None:
                    value = check(value)
            if value is not None:
                values[field.id] = value
        return NewRecord(id, values, frozenset(given))

    def new_record_of(self, body: Any, prefix: str = "") -> NewRecord:
        """The same of a body that is decoded already. `prefix` stands before the names of fields, as `records[3].`."""
        data, id, errors = self._envelope(body, prefix, known=("data", "id"))
        if id is not None and not (isinstance(id, str) and is_uuid(id)):
            errors.append(FieldError(f"{prefix}id", "must be a UUID in lower case"))
        values = self.values(data, f"{prefix}data.", errors)
        if errors:
            raise Invalid(errors)
        return NewRecord(id, values, frozenset(data))

    def values(self, data: Mapping[str, Any], prefix: str, errors: list[FieldError]) -> dict[str, Any]:
        """The values of a new record by storage key, defaults among them; mistakes are added to `errors`."""
        values: dict[str, Any] = dict(self._defaults)
        unknown = islice((name for name in data if name not in self._rules), MAX_UNKNOWN)
        errors.extend(FieldError(f"{prefix}{name}", self._unknown(name)) for name in unknown)
        if self._refusal is not None:
            errors.append(FieldError(prefix.rstrip(".") or "body", self._refusal))
        for name, rule in self._rules.items():
            try:
                value = rule.value(data[name]) if name in data else self._default(rule.field)
            except BadValue as error:
                errors.append(FieldError(f"{prefix}{name}{error.inside}", error.message))
            else:
                if value is not None:
                    values[rule.field.id] = value
        return values

    @staticmethod
    def _default(field: FieldDefinition) -> Any:
        if field.required and field.default is None:
            raise BadValue("is required")
        return field.default

    def fits(self, doc: Mapping[str, Any]) -> bool:
        """Whether a record as it is stored is one that this would let in."""
        try:
            for rule in self._rules.values():
                rule.value(doc.get(rule.field.id))
        except BadValue:
            return False
        return self._refusal is None

    def patch(self, body: bytes) -> Patch:
        """The body `{"data": {..}}` of a change. Malformed, or Invalid naming every bad field."""
        return self.patch_of(decode(body))

    def patch_of(self, body: Any, prefix: str = "") -> Patch:
        """The same of a body that is decoded already."""
        data, _, errors = self._envelope(body, prefix, known=("data",))
        values: dict[str, Any] = {}
        steps: list[tuple[FieldDefinition, Sign, Any]] = []
        seen: set[str] = set()
        for name, value in data.items():
            plain = name.rstrip("+-") if name not in self._rules else name
            rule = self._rules.get(plain)
            sign = name[len(plain) :]
            if rule is None or sign not in ("", "+", "-") or (sign and not _steps(rule.field)):
                errors.append(FieldError(f"{prefix}data.{name}", self._unknown(name)))
                if len(errors) >= MAX_UNKNOWN:
                    break
                continue
            if plain in seen:
                errors.append(FieldError(f"{prefix}data.{name}", "is given twice"))
            seen.add(plain)
            try:
                if sign:
                    steps.append((rule.field, "+" if sign == "+" else "-", _step(rule, value)))
                else:
                    values[rule.field.id] = rule.value(value)
            except BadValue as error:
                errors.append(FieldError(f"{prefix}data.{name}{error.inside}", error.message))
        if errors:
            raise Invalid(errors)
        return Patch(values, steps, frozenset(seen))

    def _unknown(self, name: str) -> str:
        return FIXED if name in self._fixed else NOT_KNOWN

    @staticmethod
    def _envelope(body: Any, prefix: str, known: tuple[str, ...]) -> tuple[dict[str, Any], Any, list[FieldError]]:
        if not isinstance(body, dict):
            if prefix:
                raise Invalid.field(prefix.rstrip("."), "must be an object")
            refuse_json("a JSON object")
        unknown = islice((name for name in body if name not in known), MAX_UNKNOWN)
        errors = [FieldError(f"{prefix}{name}", "is not known here") for name in unknown]
        data = body.get("data")
        if not isinstance(data, dict):
            message = "must be an object" if "data" in body else "is required"
            raise Invalid([*errors, FieldError(f"{prefix}data", message)])
        return data, body.get("id"), errors


def _member(rule: FieldRule) -> tuple[str, Any] | tuple[str, Any, Any]:
    # Nulls and required fields without a value are left to msgspec to refuse; the slow way then names them.
    if not rule.field.required:
        return rule.field.id, rule.type | None | msgspec.UnsetType, msgspec.UNSET
    type = _JSON_BUT_NULL if rule.type is Any else rule.type
    if rule.field.default is None:
        return rule.field.id, type
    return rule.field.id, type | msgspec.UnsetType, msgspec.UNSET


def _steps(field: FieldDefinition) -> bool:
    return field.type == "number" or field.many


def _step(rule: FieldRule, value: Any) -> Any:
    """What a `+` or `-` adds or takes: a number, or a list of values (a single one counts as a list of one)."""
    if rule.field.many:
        items = value if isinstance(value, list) else [value]
        many = FieldDefinition(
            rule.field.id, rule.field.name, rule.field.type, values=rule.field.values, max_select=1000
        )
        check = check_of(many)
        try:
            converted = msgspec.convert(items, rule.type, strict=True)
        except _UNFIT:
            raise BadValue(_why(value, rule.sentence)) from None
        return converted if check is None else check(converted)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(_why(value, "must be a number"))
    free = check_of(FieldDefinition(rule.field.id, rule.field.name, "number"))
    return value if free is None else free(value)
