"""What may be stored, that it comes back unharmed, and that what may not is said by name."""

from __future__ import annotations

from typing import Any

import pytest

from fastcms_common.errors import Invalid, TooLarge
from fastcms_common.storage import Change, Store, eq
from fastcms_common.storage.values import INT_MAX, INT_MIN, MAX_DEPTH
from tests.contract.storage.conftest import user
from tests.mongo_server import ODD_KEYS
from tests.storages import needs


def nested(depth: int) -> Any:
    return {"in": nested(depth - 1)} if depth else "here"


async def test_a_document_comes_back_with_every_type_as_it_was(store: Store) -> None:
    doc = user("1", none=None, truth=True, whole=1, real=1.0, tiny=5e-324, text="Ünï", list=[1, [], {}], empty={})
    await store.insert("users", {key: value for key, value in doc.items() if key != "list"})
    assert repr(await store.get("users", "1")) == repr({key: value for key, value in doc.items() if key != "list"})


@pytest.mark.parametrize("number", [INT_MIN, INT_MAX, 2**53 + 1, -(2**53) - 1, 2**31, 1e300])
async def test_a_number_stays_exact(store: Store, number: float) -> None:
    await store.insert("users", user("1", n=number))
    found = await store.first("users", eq("n", number))
    assert found is not None
    assert found["n"] == number
    assert await store.first("users", eq("n", number - 1 if number > 0 else number + 1)) is None or number == 1e300


async def test_keys_that_look_like_operators_and_paths_are_only_keys(store: Store) -> None:
    odd = {"$set": {"role": "admin"}, "$where": "1", "a.b": 1, "0": "zero", "": "empty", "_id": "x", "%2E": 2, "%": 3}
    await store.insert("users", user("1", data=odd, **{"$gt": "", "x.y": 1, "_id": "mine"}))
    found = await store.get("users", "1")
    assert found == user("1", data=odd, **{"$gt": "", "x.y": 1, "_id": "mine"})
    changed = await store.update("users", "1", Change(set={("data", "a.b"): 2, ("$gt",): "new", ("data", "0"): None}))
    assert changed is not None
    assert changed["data"] == {**odd, "a.b": 2, "0": None}
    assert changed["$gt"] == "new"
    assert await store.count("users", eq(("data", "$set", "role"), "admin")) == 1


@needs(ODD_KEYS)
async def test_keys_with_quotes_and_control_characters_are_only_keys(store: Store) -> None:
    odd = {'"': 1, "'": 2, "\\": 3, "\n": 4, "' OR 1=1 --": 5, "a b": 6}
    await store.insert("users", user("1", data=odd))
    for key, value in odd.items():
        assert await store.count("users", eq(("data", key), value)) == 1
        assert await store.count("users", eq(("data", key), 0)) == 0


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (float("nan"), "data"),
        (float("inf"), "data"),
        (2**63, "data"),
        (-(2**63) - 1, "data"),
        ("a\0b", "data"),
        ("\ud800", "data"),
        (b"bytes", "data"),
        (object(), "data"),
        ({1: "number as a key"}, "data"),
        ([1, [float("nan")]], "data[1][0]"),
        ({"a": {"b": 2**64}}, "data.a.b"),
        ({"a\0": 1}, "data"),
    ],
)
async def test_what_cannot_be_stored_is_refused_by_name(store: Store, value: object, place: str) -> None:
    with pytest.raises(Invalid) as refused:
        await store.insert("users", user("1", data=value))
    assert [error.field for error in refused.value.fields] == [place]
    with pytest.raises(Invalid):
        await store.insert_many("users", [user("2"), user("1", data=value)])
    with pytest.raises(Invalid):
        await store.replace("users", user("1", data=value))
    assert await store.count("users") == 0


async def test_nesting_has_a_limit(store: Store) -> None:
    await store.insert("users", user("1", data=nested(MAX_DEPTH - 2)))
    assert await store.get("users", "1") == user("1", data=nested(MAX_DEPTH - 2))
    with pytest.raises(Invalid):
        await store.insert("users", user("2", data=nested(MAX_DEPTH)))


async def test_size_has_a_limit(store: Store) -> None:
    with pytest.raises(TooLarge):
        await store.insert("users", user("1", data="x" * 13_000_000))


@pytest.mark.parametrize("id", [None, "", 7, "x" * 256, "a\0"])
async def test_an_id_is_text(store: Store, id: Any) -> None:
    with pytest.raises(Invalid) as refused:
        await store.insert("users", user(id))
    assert refused.value.fields[0].field == "id"


@pytest.mark.parametrize("value", [[1], [], {"a": 1}, {}])
async def test_a_scalar_path_takes_no_list_and_no_object(store: Store, value: object) -> None:
    for doc in (user("1", email=value), user("1", profile={"city": value}), user("1", profile=[{"city": "x"}])):
        with pytest.raises(Invalid):
            await store.insert("users", doc)
    await store.insert("users", user("1"))
    for change in (Change(set={"email": value}), Change(set={"profile": {"city": value}}), Change(set={"email.x": 1})):
        with pytest.raises(Invalid):
            await store.update("users", "1", change)
    assert await store.get("users", "1") == user("1")


async def test_a_required_path_is_never_null(store: Store) -> None:
    for doc in ({"id": "1"}, {"id": "1", "tenant": "t", "login": None}):
        with pytest.raises(Invalid) as refused:
            await store.insert("users", doc)
        assert refused.value.fields[0].field in ("tenant", "login")
    await store.insert("users", user("1"))
    for change in (Change(set={"login": None}), Change(unset=["login"])):
        with pytest.raises(Invalid):
            await store.update("users", "1", change)


async def test_a_document_can_be_read_as_json(store: Store) -> None:
    await store.insert("users", user("1", n=2**53 + 1, text="é"))
    assert (
        await store.get_json("users", "1")
        == '{"id":"1","tenant":"t","login":"1","n":9007199254740993,"text":"é"}'.encode()
    )
    assert await store.get_json("users", "2") is None
