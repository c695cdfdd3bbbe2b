"""What a table's definition asks of the documents and changes written to it, the same for both engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastcms_common.errors import Invalid
from fastcms_common.storage.query import Path
from fastcms_common.storage.store import Change, Index, Table
from fastcms_common.storage.values import Document, check_id, check_value


@dataclass(frozen=True, slots=True)
class TableRules:
    """A table as the engines need it at hand. At `nullable` paths (of unique indexes) null is stored as missing."""

    name: str
    indexes: tuple[Index, ...]
    scalars: frozenset[Path]
    nullable: frozenset[Path]
    required: frozenset[Path]

    @classmethod
    def of(cls, table: Table) -> TableRules:
        """The rules of a definition."""
        unique = [index for index in table.indexes if index.unique]
        required = frozenset(path for index in unique if index.required for path in index.paths)
        paths = frozenset(path for index in unique for path in index.paths)
        return cls(table.name, table.indexes, table.scalar_paths, paths - required, required)

    def renamed(self, name: str) -> TableRules:
        """The same under another name."""
        return replace(self, name=name)

    def document(self, given: Mapping[str, Any]) -> Document:
        """A document as it is to be stored (its own copy of the top level). Invalid naming what cannot be."""
        doc = dict(given)
        check_id(doc.get("id"))
        check_value(doc, "")
        for path in self.scalars:
            _check_scalar_path(doc, path, path)
        for path in self.required:
            if _held(doc, path) is None:
                raise Invalid.field(".".join(path), "is required")
        for path in self.nullable:
            doc = _without_null(doc, path)
        return doc

    def change(self, change: Change) -> Change:
        """A change as it is to be applied: null at the paths of unique indexes becomes removal. Invalid where it would
        put an array or an object at a scalar path, or null at a required one."""
        for path in self.scalars:
            self._check_change(change, path)
        for path in self.required:
            _check_required(change, path)
        return self._without_nulls(change)

    def _check_change(self, change: Change, scalar: Path) -> None:
        for path, value in change.set.items():
            if scalar[: len(path)] == path:
                _check_scalar_path(value, scalar[len(path) :], scalar)
            _refuse_below(path, scalar)
        for path in change.inc:
            _refuse_below(path, scalar)
        for path in (*change.push, *change.add_to_set, *change.remove):
            if scalar[: len(path)] == path:
                raise Invalid.field(".".join(path), "must not hold a list")
            _refuse_below(path, scalar)

    def _without_nulls(self, change: Change) -> Change:
        if not self.nullable or not change.set:
            return change
        new, gone = dict(change.set), list(change.unset)
        for unique in self.nullable:
            for path, value in change.set.items():
                if path == unique and value is None:
                    del new[path]
                    gone.append(path)
                elif unique[: len(path)] == path and isinstance(value, Mapping):
                    new[path] = _without_null(dict(new[path]), unique[len(path) :])
        return Change(new, gone, change.inc, push=change.push, add_to_set=change.add_to_set, remove=change.remove)


def _held(value: Any, path: Path) -> Any:
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def _check_scalar_path(value: Any, path: Path, whole: Path) -> None:
    for step in path:
        if isinstance(value, list | tuple):
            raise Invalid.field(".".join(whole), "must not lie in a list")
        if not isinstance(value, Mapping):
            return
        value = value.get(step)
    if isinstance(value, Mapping | list | tuple):
        raise Invalid.field(".".join(whole), "must be a single value, not a list or an object")


def _refuse_below(path: Path, scalar: Path) -> None:
    if len(path) > len(scalar) and path[: len(scalar)] == scalar:
        raise Invalid.field(".".join(scalar), "must be a single value, not an object")


def _check_required(change: Change, required: Path) -> None:
    removed = any(required[: len(path)] == path for path in change.unset)
    emptied = any(
        required[: len(path)] == path and _held(value, required[len(path) :]) is None
        for path, value in change.set.items()
    )
    if removed or emptied or any(required[: len(path)] == path != required for path in change.inc):
        raise Invalid.field(".".join(required), "is required")


def _without_null(value: Any, path: Path) -> Any:
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    inner = value[path[0]]
    if len(path) == 1:
        return {key: item for key, item in value.items() if key != path[0]} if inner is None else value
    return {**value, path[0]: _without_null(inner, path[1:])}
