"""Random documents, queries, sorts and changes, drawn from small pools so that they meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fastcms_common.storage import ALL, NONE, And, Change, Compare, Field, In, Not, OfKind, Or, Query, Value
from fastcms_common.storage.query import KINDS, OPS, ORDERED_OPS
from fastcms_common.storage.store import MAX_STEP
from fastcms_common.storage.values import INT_MAX, INT_MIN

# Keys that paths use, and keys that databases are known to trip over.
KEYS = [
    "a",
    "b",
    "c",
    "id",
    "$set",
    "$a",
    "x.y",
    "0",
    "1",
    "_id",
    "%",
    "%2E",
    "é",
    "",
    "'",
    '"',
    "\\",
    "A",
    "a b",
    "__proto__",
]

NUMBERS: list[int | float] = [
    0, -0.0, 1, 1.0, -1, 2, 3, 0.1, 1.5, 1e300, -1e300, 5e-324, 2**31, 2**53, 2**53 + 1, float(2**53), -(2**53) - 1,
    INT_MAX, INT_MAX - 1, INT_MIN, float(2**63), -float(2**63),
]  # fmt: skip

# Case pairs with a trap each: sharp s, Turkish i, Kelvin sign, long s, final sigma, titlecase digraph, Cherokee, an
# astral pair, Greek with iota subscript; composed and decomposed; wildcards and regex characters; JSON look-alikes.
TEXTS = [
    "", "a", "A", "ab", "AB", "abc", "xabcx", "b", "z", "ß", "ẞ", "ss", "straße", "STRASSE", "İ", "i",
    "I", "ı", "i̇", "K", "k", "K", "ſ", "s", "S", "ς", "σ", "Σ", "ǆ", "ǅ", "Ǆ", "Ꭰ", "ꭰ", "𐐀", "𐐨", "ᾳ",
    "ᾼ", "é", "É", "é", "日本", "😀", "\uffff", "\ue000", "%", "_", "a%", "%c", "a%c", "a_c", "%%", "%b%",
    "a.c", ".*", "^a", "a$", "[a]", "\\", "\\d", "(", "$a", "$set", "\n", "a\n", "\na", "a\nc", "\r",
    "\t", "\u2028", "1", "1.0", "true", "null", "[]", '["a"]', "{}", '"', "'",
    "2026-11-20T21:40:00.000000Z", "2026-11-20T21:40:00.000001Z", "1999-12-31T23:59:59.999999Z",
]  # fmt: skip

characters = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
texts = st.one_of(st.sampled_from(TEXTS), st.sampled_from(TEXTS), st.text(characters, max_size=8))
integers = st.integers(INT_MIN, INT_MAX)
floats = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS), integers, floats)
# So few that a literal of a query is often what a document holds.
familiar: st.SearchStrategy[Any] = st.sampled_from([None, True, False, 0, 1, 1.0, 2, "", "a", "A", "b", "ab"])
scalars: st.SearchStrategy[Any] = st.one_of(familiar, familiar, familiar, numbers, texts)
keys = st.one_of(st.sampled_from(KEYS[:3]), st.sampled_from(KEYS), st.text(characters, max_size=4))
few_keys = st.sampled_from(KEYS[:3])
paths = st.one_of(
    st.sampled_from([("a",), ("b",), ("b", "c"), ("a", "b"), ("b", "c", "a")]),
    st.lists(few_keys, min_size=1, max_size=3).map(tuple),
    st.lists(few_keys, min_size=1, max_size=3).map(tuple),
    st.lists(keys, min_size=1, max_size=3).map(tuple),
)


def within(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Arrays and objects of something, mostly with keys that paths use."""
    objects = st.dictionaries(few_keys, inner, max_size=3)
    return st.one_of(st.lists(inner, max_size=3), objects, objects, st.dictionaries(keys, inner, max_size=3))


values: st.SearchStrategy[Any] = st.recursive(scalars, within, max_leaves=6)
# What stands where queries look: single values, arrays of them, objects and arrays on the way to deeper paths.
looked_at = st.one_of(
    scalars,
    st.lists(familiar, max_size=3),
    st.lists(st.one_of(familiar, st.lists(familiar, max_size=2)), max_size=3),
    st.dictionaries(few_keys, st.one_of(familiar, st.lists(familiar, max_size=3)), max_size=3),
    st.dictionaries(few_keys, st.dictionaries(few_keys, scalars, max_size=2), max_size=2),
    st.lists(st.dictionaries(few_keys, familiar, max_size=2), max_size=3),
    values,
)
bodies = st.builds(
    lambda known, odd: {**odd, **known},
    st.fixed_dictionaries({}, optional={"a": looked_at, "b": looked_at, "c": looked_at}),
    st.one_of(st.just({}), st.dictionaries(keys, values, max_size=2)),
)


@st.composite
def documents(draw: st.DrawFn, max_size: int = 8) -> list[dict[str, Any]]:
    """Documents with ids of their own, in any order."""
    docs = draw(st.lists(bodies, max_size=max_size))
    ids = draw(st.permutations([f"id-{number}" for number in range(len(docs))]))
    return [{**doc, "id": id} for doc, id in zip(docs, ids, strict=True)]


literals = st.one_of(scalars, scalars, st.lists(scalars, max_size=3), st.sampled_from(["id-0", "id-1"])).map(Value)


@st.composite
def comparisons(draw: st.DrawFn) -> Query:
    """A comparison that the tree allows."""
    op: Any = draw(st.sampled_from(sorted(OPS)))
    some = draw(st.booleans())
    plain = st.builds(Field, paths, length=st.integers(0, 5).map(lambda number: number == 0))
    lowered = st.builds(Field, paths, lower=st.just(True))
    shape = draw(st.sampled_from(["literal", "literal", "literal", "flipped", "fields", "constant"]))
    right: Any = draw(literals)
    left: Any = draw(plain if op in ORDERED_OPS else st.one_of(plain, lowered))
    if shape == "constant":
        left = draw(literals)
    elif op not in ("~", "!~") and shape == "flipped":
        left, right = right, left
    elif op not in ("~", "!~") and shape == "fields":
        left, right = draw(plain), draw(plain)
    return Compare(left, op, right, some)


@st.composite
def length_comparisons(draw: st.DrawFn) -> Query:
    """`a:length > 1` and the like: with numbers that lengths have."""
    op: Any = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]))
    number = draw(st.one_of(st.integers(-1, 5), st.sampled_from([0.5, 1.0, 2.5, 40, 1000, INT_MAX])))
    return Compare(Field(draw(paths), length=True), op, Value(number), draw(st.booleans()))


memberships = st.builds(
    In, st.one_of(st.builds(Field, paths), st.builds(Field, paths, lower=st.just(True))), st.lists(scalars, max_size=12)
)
kinds = st.builds(OfKind, paths, st.sets(st.sampled_from(KINDS)))
leaves = st.one_of(
    comparisons(), comparisons(), comparisons(), length_comparisons(), memberships, kinds, st.sampled_from([ALL, NONE])
)
queries: st.SearchStrategy[Query] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: And(*parts)),
        st.lists(inner, max_size=3).map(lambda parts: Or(*parts)),
        inner.map(Not),
    ),
    max_leaves=4,
)

sorts = st.lists(
    st.tuples(st.one_of(st.sampled_from([("a",), ("b", "c"), ("c",), ("id",)]), paths), st.sampled_from([1, -1])),
    max_size=3,
    unique_by=lambda key: key[0],
)


steps = st.one_of(st.sampled_from([1, -1, 0.5, INT_MAX]), numbers.filter(lambda number: abs(number) < MAX_STEP))


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """A change of one to three paths."""
    given: dict[str, Any] = {"set": {}, "unset": [], "inc": {}, "push": {}, "add_to_set": {}, "remove": {}}
    taken: list[tuple[str, ...]] = []
    for path in draw(st.lists(st.one_of(st.sampled_from([("a",), ("b", "c"), ("c",)]), paths), min_size=1, max_size=3)):
        if path[0] == "id" or any(path[: len(other)] == other or other[: len(path)] == path for other in taken):
            continue
        taken.append(path)
        kind = draw(st.sampled_from(sorted(given)))
        if kind == "unset":
            given[kind].append(path)
        else:
            several = st.lists(values if kind == "push" else scalars, max_size=3)
            argument = {"set": values, "inc": steps}.get(kind, several)
            given[kind][path] = draw(argument)
    return Change(**given)
