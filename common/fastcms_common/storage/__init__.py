"""Two storage engines behind one narrow interface: SQLite for the bare run, MongoDB in production.

`open_store(url, name)` gives a `Store`; `query` builds what it is asked; the modules tell the rest.
"""

from fastcms_common.storage.opening import open_store
from fastcms_common.storage.predicate import matches, position
from fastcms_common.storage.query import (
    ALL,
    NONE,
    And,
    Compare,
    Field,
    In,
    Not,
    OfKind,
    Or,
    Query,
    Value,
    eq,
    ge,
    gt,
    has,
    is_null,
    le,
    like,
    lt,
    ne,
)
from fastcms_common.storage.store import After, Change, Duplicate, Index, Plan, Sort, Store, Table
from fastcms_common.storage.values import Document, Scalar

__all__ = [
    "ALL",
    "NONE",
    "After",
    "And",
    "Change",
    "Compare",
    "Document",
    "Duplicate",
    "Field",
    "In",
    "Index",
    "Not",
    "OfKind",
    "Or",
    "Plan",
    "Query",
    "Scalar",
    "Sort",
    "Store",
    "Table",
    "Value",
    "eq",
    "ge",
    "gt",
    "has",
    "is_null",
    "le",
    "like",
    "lt",
    "matches",
    "ne",
    "open_store",
    "position",
]
