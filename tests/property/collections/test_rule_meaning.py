"""One meaning in every interpreter: the database's query, the predicate over one record, and the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from collections_service.catalog import Snapshot
from collections_service.rules.compile import Compiler
from collections_service.rules.errors import ExpressionError
from collections_service.rules.tree import (
    OPS,
    And,
    Compare,
    Constant,
    Expression,
    Modifier,
    Not,
    Op,
    Operand,
    Or,
    Path,
    to_text,
)
from collections_service.rules.types import Scope, check
from fastcms_common.context import Caller
from fastcms_common.storage import matches
from tests.mongo_server import ALL_OF_AN_ARRAY, FIELD_AGAINST_FIELD, NESTED_ARRAYS
from tests.property.collections.reference import Reference
from tests.property.collections.settings import NIGHTLY
from tests.property.collections.world import MEMBER_IDS, MEMBERS, POSTS, TEAM_IDS, TEAMS, TEXTS, TIMES, World
from tests.storages import ENGINES, Storage

RECORD_PATHS = [
    *(("title",), ("n",), ("ok",), ("tags",), ("day",), ("at",), ("meta",), ("meta", "k"), ("meta", "k", "k")),
    *(("author",), ("authors",), ("author", "name"), ("author", "team"), ("author", "team", "name"), ("id",)),
    *(("author", "team", "level"), ("author", "team", "flags"), ("author", "teams", "name"), ("author", "teams")),
    *(("authors", "name"), ("authors", "team", "level"), ("authors", "teams", "flags"), ("author", "verified")),
]
OTHER_PATHS = [
    *(("teams", "name"), ("teams", "level"), ("teams", "flags"), ("members", "name"), ("members", "id")),
    *(("members", "team"), ("members", "team", "name"), ("members", "teams"), ("teams", "id")),
]
AUTH_PATHS = [
    *(("id",), ("role",), ("name",), ("team",), ("teams",), ("verified",), ("team", "name"), ("team", "flags")),
    *(("teams", "name"), ("teams", "level")),
]
MODIFIERS: tuple[Modifier | None, ...] = (None, "lower", "length", "each")
OPERANDS: list[Operand] = [
    *(Path("record", names, modifier) for names in RECORD_PATHS for modifier in MODIFIERS),
    *(Path("collection", names, modifier) for names in OTHER_PATHS for modifier in MODIFIERS),
    *(Path("auth", names) for names in AUTH_PATHS),
    *(Path("data", (name,), modifier) for name in ("title", "n") for modifier in (None, "isset")),
    *(Path("query", (name,)) for name in ("q", "z")),
    *map(Constant, (None, True, False, 0, 1, 1.0, 2.5, 2**53, 2**53 + 1, *TEXTS, *TIMES, "2026-01-01")),
    *map(Constant, (*TEAM_IDS[:3], *MEMBER_IDS[:3])),
]
SNAPSHOT = Snapshot([TEAMS, MEMBERS, POSTS], {})


def _fits(node: Expression) -> bool:
    """Whether the type checker lets the expression through: what it refuses has no meaning."""
    try:
        check(node, Scope(POSTS, SNAPSHOT, "list"))
    except ExpressionError:
        return False
    return True


@cache
def _rights(left: int, op: Op) -> list[Operand]:
    """What may stand on the right of this operand. By its place: 1 and true are equal, and not the same."""
    return [right for right in OPERANDS if _fits(Compare(OPERANDS[left], op, right))]


@st.composite
def comparisons(draw: st.DrawFn) -> Expression:
    left, op = draw(st.integers(0, len(OPERANDS) - 1)), draw(st.sampled_from(OPS))
    rights = _rights(left, op)
    assume(rights)
    return Compare(OPERANDS[left], op, draw(st.sampled_from(rights)), draw(st.booleans()))


def _joined(kind: type[And | Or], parts: list[Expression]) -> Expression:
    return kind(tuple(inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,))))


CALLERS = [None, Caller("built-in", "user"), *(Caller(id, "user", MEMBERS.id) for id in MEMBER_IDS[:4])]
DATA = [{}, {"title": "a"}, {"n": 1, "title": None}]


@pytest.fixture(scope="module", params=ENGINES)
def world(request: pytest.FixtureRequest, new_storage: Callable[..., Storage]) -> Iterator[World]:
    storage = new_storage(request.param, ALL_OF_AN_ARRAY, FIELD_AGAINST_FIELD, NESTED_ARRAYS)
    made = World(storage.url)
    yield made
    made.close()


EXPRESSIONS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: _joined(And, parts)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: _joined(Or, parts)),
        inner.filter(lambda part: not isinstance(part, Not)).map(Not),
    ),
    max_leaves=5,
)


@settings(
    max_examples=5_000 if NIGHTLY else 150,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    deadline=None,
)
@given(node=EXPRESSIONS, caller=st.sampled_from(CALLERS), sent=st.sampled_from(DATA))
def test_database_predicate_and_reference_agree(
    world: World, node: Expression, caller: Caller | None, sent: dict[str, object]
) -> None:
    bound = check(node, Scope(POSTS, world.snapshot, "list"))
    reference = Reference(world, POSTS, caller, sent)
    expected = {doc["id"] for doc in world.docs[POSTS.id] if reference.holds(node, doc)}

    def compiler() -> Compiler:
        session = world.session(caller)
        session.request.data = {POSTS.by_name[name].id: value for name, value in sent.items()}
        session.request.given = frozenset(sent)
        return Compiler(session.request)

    query = world.run(compiler().query(bound))
    found = {doc["id"] for doc in world.run(world.store.find(POSTS, query))}
    assert found == expected, to_text(node)
    # Judged one by one, as view, update and delete do it.
    for doc in world.docs[POSTS.id][:12]:
        judged = world.run(compiler().query(bound, [doc]))
        assert matches(judged, doc) == (doc["id"] in expected), (to_text(node), doc)
