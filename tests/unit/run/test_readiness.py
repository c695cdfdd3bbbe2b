"""What an answer of `/health/ready` means for a person."""

from __future__ import annotations

import pytest

from fastcms_cli.readiness import Answer


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(0), "the gateway does not answer"),
        (Answer(503, b'{"checks": {"redis": "ok", "auth-service": "down"}}'), "not ready: auth-service"),
        (Answer(503, b'{"checks": {"b": "down", "a": "starting"}}'), "not ready: a, b"),
        (Answer(503, b"Service Unavailable"), "/health/ready answers 503"),
        (Answer(503, b"[]"), "/health/ready answers 503"),
        (Answer(404, b"{}"), "/health/ready answers 404"),
    ],
)
def test_what_is_missing_is_named_as_far_as_the_answer_tells(answer: Answer, text: str) -> None:
    assert not answer.ready
    assert answer.missing() == text


def test_only_200_is_ready() -> None:
    assert Answer(200).ready
    assert not Answer(204).ready
