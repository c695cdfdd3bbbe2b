"""From the stacks that were seen to what the time went into."""

from __future__ import annotations

import pytest

from bench.profile import OTHER, area_of, stacks_of


def test_stacks_are_counted():
    raw = "main (a.py:1);f (b.py:2) 3\nmain (a.py:1) 2\nmain (a.py:1);f (b.py:2) 4\n\n"
    assert stacks_of(raw) == {("main (a.py:1)", "f (b.py:2)"): 7, ("main (a.py:1)",): 2}


@pytest.mark.parametrize(
    ("stack", "area"),
    [
        (
            ["run (x/fastcms_common/serving.py:9)", "_write (x/fastcms_common/multiplex/server.py:1)"],
            "multiplexed channel",
        ),
        (["get (x/collections_service/records.py:1)", "get (x/fastcms_common/storage/store.py:1)"], "storage"),
        (["_write (x/fastcms_common/multiplex/server.py:1)", "_write (x/grpc/aio/_call.py:1)"], "grpc.aio"),
        (["run (x/fastcms_common/serving.py:9)", "Runner.run (x/asyncio/runners.py:1)"], OTHER),
        (["Server.run (x/uvicorn/server.py:9)"], OTHER),
        (["<module> (x/auth_service/__main__.py:9)", "Runner.run (x/asyncio/runners.py:1)"], OTHER),
        ([], OTHER),
    ],
)
def test_the_innermost_frame_that_is_known_says_what_a_stack_works_on(stack: list[str], area: str):
    assert area_of(stack) == area
