"""The chain and what is signed about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from admin_service.audit_chain import Checkpoint, CheckpointKey, Head, flaw, head_of, link

KEY = CheckpointKey(b"k" * 32)


def chain_of(count: int) -> list[dict[str, object]]:
    head, rows = Head(), []
    for number in range(1, count + 1):
        rows.append(link({"id": f"e{number}", "description": f"event {number}", "actor_id": None}, head))
        head = head_of(rows[-1])
    return rows


def first_flaw(rows: list[dict[str, object]]) -> str | None:
    head = Head()
    for row in rows:
        if flaw(row, head):
            return str(row["id"])
        head = head_of(row)
    return None


def test_a_chain_that_nobody_touched_has_no_flaw():
    assert first_flaw(chain_of(5)) is None


def test_an_edited_row_is_found():
    rows = chain_of(5)
    rows[2]["description"] = "nothing happened"
    assert first_flaw(rows) == "e3"


def test_a_row_that_says_more_than_it_did_is_found():
    rows = chain_of(5)
    rows[2]["actor_id"] = "someone"
    assert first_flaw(rows) == "e3"


def test_null_and_missing_are_the_same_to_the_chain():
    rows = chain_of(5)
    del rows[2]["actor_id"]
    assert first_flaw(rows) is None


def test_a_removed_row_is_found_at_the_one_behind_it():
    rows = chain_of(5)
    del rows[2]
    assert first_flaw(rows) == "e4"


def test_two_rows_that_changed_places_are_found():
    rows = chain_of(5)
    rows[1], rows[2] = rows[2], rows[1]
    assert first_flaw(rows) == "e3"


def test_two_rows_that_changed_contents_but_kept_their_links_are_found():
    rows = chain_of(5)
    rows[1]["description"], rows[2]["description"] = rows[2]["description"], rows[1]["description"]
    assert first_flaw(rows) == "e2"


def test_an_edited_row_with_a_new_hash_is_found_at_the_next_one():
    rows = chain_of(5)
    rows[2] = link({"id": "e3", "description": "nothing happened", "actor_id": None}, head_of(rows[1]))
    assert first_flaw(rows) == "e4"


def test_a_checkpoint_is_verified_by_the_key_that_signed_it_alone():
    signed = KEY.sign("head", head_of(chain_of(3)[-1]), "2026-11-20T21:40:00.000000Z")
    assert KEY.verifies(signed)
    assert CheckpointKey(b"k" * 32).verifies(signed)
    assert not CheckpointKey(b"l" * 32).verifies(signed)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "floor"},
        {"position": 2},
        {"hash": "0" * 64},
        {"event_id": "e2"},
        {"created": "2026-11-20T21:41:00.000000Z"},
        {"signature": ""},
        {"signature": "no base64 %"},
    ],
)
def test_a_changed_checkpoint_is_not_believed(change: dict[str, object]):
    signed: Checkpoint = KEY.sign("head", head_of(chain_of(3)[-1]), "2026-11-20T21:40:00.000000Z")
    assert not KEY.verifies(replace(signed, **change))
