"""What an answer of `/health/ready` means for a person."""

from __future__ import annotations

import json

import pytest

from fastcms_cli.readiness import Answer


def down(**statuses: str) -> Answer:
    dependencies = [{"name": name, "status": status, "error": None} for name, status in statuses.items()]
    return Answer(503, json.dumps({"status": "unavailable", "dependencies": dependencies}).encode())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(0), "the gateway does not answer"),
        (down(redis="ok", auth="down"), "not ready: auth"),
        (down(b="down", a="starting"), "not ready: a, b"),
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
