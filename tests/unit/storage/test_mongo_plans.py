"""What the MongoDB engine makes of the server's answer to `explain`; the answers are those that its manual shows."""

from __future__ import annotations

from typing import Any

import pytest

from fastcms_common.storage import Plan
from fastcms_common.storage.mongo_plans import plan_of

IXSCAN = {"stage": "IXSCAN", "indexName": "ix_index_by_n", "keyPattern": {"n": 1}}
FETCH = {"stage": "FETCH", "inputStage": IXSCAN}
OR = {
    "stage": "SUBPLAN",
    "inputStage": {
        "stage": "FETCH",
        "inputStage": {
            "stage": "OR",
            "inputStages": [IXSCAN, {"stage": "IXSCAN", "indexName": "_id_"}],
        },
    },
}
SHARDS = {"stage": "SINGLE_SHARD", "shards": [{"shardName": "a", "winningPlan": FETCH}]}


@pytest.mark.parametrize(
    ("winning", "expected"),
    [
        (FETCH, Plan(("index_by_n",), False, ("FETCH", "IXSCAN ix_index_by_n"))),
        (
            {"isCached": False, "queryPlan": FETCH, "slotBasedPlan": {"stages": "..."}},
            Plan(("index_by_n",), False, ("FETCH", "IXSCAN ix_index_by_n")),
        ),
        ({"isCached": False, "stage": "COLLSCAN", "direction": "forward"}, Plan((), True, ("COLLSCAN",))),
        ({"stage": "IDHACK"}, Plan(("id",), False, ("IDHACK",))),
        ({"stage": "EXPRESS_IXSCAN", "indexName": "_id_"}, Plan(("id",), False, ("EXPRESS_IXSCAN _id_",))),
        ({"stage": "EOF"}, Plan((), False, ("EOF",))),
        (OR, Plan(("index_by_n", "id"), False, ("SUBPLAN", "FETCH", "OR", "IXSCAN ix_index_by_n", "IXSCAN _id_"))),
        (SHARDS, Plan(("index_by_n",), False, ("SINGLE_SHARD", "FETCH", "IXSCAN ix_index_by_n"))),
    ],
)
def test_the_plan_that_won_is_read(winning: dict[str, Any], expected: Plan) -> None:
    assert plan_of({"queryPlanner": {"winningPlan": winning, "rejectedPlans": [OR]}, "ok": 1.0}) == expected


@pytest.mark.parametrize(
    "answer", [{}, {"queryPlanner": {"Plan": ["SCAN t"]}}, {"queryPlanner": {"winningPlan": None}}]
)
def test_a_server_that_names_no_plan_is_not_guessed_for(answer: dict[str, Any]) -> None:
    assert plan_of(answer) is None
