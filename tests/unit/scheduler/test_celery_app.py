"""How Celery is told of Redis."""

from __future__ import annotations

import pytest

from scheduler_service.celery_app import broker_url, make_app


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("redis://:p%40ss@host:6379/3", "redis://:p%40ss@host:6379/3"),
        ("rediss://user:p@host:6379/0", "rediss://user:p@host:6379/0"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix://:p%2Fw@/run/redis.sock?db=2", "redis+socket://:p%2Fw@/run/redis.sock?virtual_host=2"),
    ],
)
def test_the_redis_url_is_said_in_kombus_words(redis_url: str, expected: str):
    assert broker_url(redis_url) == expected


def test_messages_are_json_and_acknowledged_late_and_keep_to_their_prefix():
    app = make_app("redis://localhost:1/0")
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_acks_late
    assert app.conf.broker_transport_options["global_keyprefix"] == "celery:"
    assert app.conf.redbeat_key_prefix == "redbeat:"
