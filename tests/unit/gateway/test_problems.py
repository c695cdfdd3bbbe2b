"""From domain errors to problem documents."""

from __future__ import annotations

from typing import Any

import grpc
import orjson
import pytest

from fastcms_common import errors
from fastcms_common.errors import DomainError, FieldError, Invalid
from gateway.problems import STATUS, Refused, internal, not_allowed, not_found, problem_of

ALL = [
    (errors.Malformed("It makes no sense."), 400, "MALFORMED_REQUEST"),
    (Invalid.field("name", "Is taken."), 422, "VALIDATION_FAILED"),
    (errors.Unauthenticated("Wrong e-mail or password.", reason="INVALID_CREDENTIALS"), 401, "INVALID_CREDENTIALS"),
    (errors.Denied("Not you."), 403, "FORBIDDEN"),
    (errors.NotFound("No such user."), 404, "NOT_FOUND"),
    (errors.Conflict("It is running.", reason="TASK_RUNNING"), 409, "TASK_RUNNING"),
    (errors.Stale("It has changed."), 412, "PRECONDITION_FAILED"),
    (errors.TooLarge("Too much."), 413, "BODY_TOO_LARGE"),
    (errors.Exhausted("Slow down.", retry_after=7), 429, "RATE_LIMITED"),
]


def told(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(answer.body)
    return found


@pytest.mark.parametrize(("error", "status", "code"), ALL, ids=lambda value: str(value)[:20])
def test_a_domain_error_becomes_a_document(error: DomainError, status: int, code: str):
    answer = problem_of(error, "request-1")
    assert answer.status == status
    assert answer.content_type == b"application/problem+json"
    assert told(answer) == {
        "type": f"urn:fastcms:problem:{code.lower().replace('_', '-')}",
        "title": told(answer)["title"],
        "status": status,
        "detail": error.detail,
        "code": code,
        "request_id": "request-1",
        "errors": [{"field": field.field, "message": field.message} for field in error.fields],
    }
    assert told(answer)["title"]


@pytest.mark.parametrize("error", [errors.Unavailable("mongodb://10.0.0.1 refused"), errors.TimedOut("10.0.0.1 slept")])
def test_a_5xx_tells_nothing_of_its_cause(error: DomainError):
    answer = problem_of(error, "request-1")
    assert answer.status in (503, 504)
    assert b"10.0.0.1" not in answer.body
    assert told(answer)["code"] == error.reason


def test_what_is_down_says_when_to_come_back():
    assert (b"retry-after", b"1") in problem_of(errors.Unavailable("x"), "r").headers
    assert (b"retry-after", b"9") in problem_of(errors.Unavailable("x", retry_after=9), "r").headers


def test_a_lock_says_when_it_ends():
    locked = errors.Denied("Account locked. Try again in 1742 seconds.", reason="ACCOUNT_LOCKED", retry_after=1742)
    answer = problem_of(locked, "r")
    assert (b"retry-after", b"1742") in answer.headers
    assert told(answer)["detail"] == "Account locked. Try again in 1742 seconds."


def test_the_password_policy_is_told_as_a_list():
    broken = Invalid(
        [FieldError("password", "Password must be at least 8 characters"), FieldError("password", "Too common")],
        reason="PASSWORD_POLICY",
    )
    answer = problem_of(broken, "r")
    assert answer.status == 422
    assert told(answer)["detail"] == ["Password must be at least 8 characters", "Too common"]


def test_a_401_is_a_challenge_and_says_whether_the_token_was_bad():
    missing = problem_of(errors.Unauthenticated(), "r")
    assert missing.headers == [(b"www-authenticate", b'Bearer realm="fastcms"')]
    bad = problem_of(errors.Unauthenticated('The "token"\\ is bad.\r\nX: y'), "r", token_sent=True)
    assert bad.headers == [
        (
            b"www-authenticate",
            b'Bearer realm="fastcms", error="invalid_token", error_description="The token is bad.X: y"',
        )
    ]


def test_every_code_but_the_meaningless_has_a_status():
    meaningless = {"OK", "UNKNOWN", "INTERNAL", "DATA_LOSS", "UNIMPLEMENTED", "CANCELLED", "FAILED_PRECONDITION"}
    assert {code.name for code in grpc.StatusCode} - {code.name for code in STATUS} == meaningless


def test_what_the_gateway_refuses_looks_the_same():
    shape = told(problem_of(errors.NotFound("x"), "r")).keys()
    for refused in (not_found(), not_allowed(["GET"]), Refused(415, "UNSUPPORTED_MEDIA_TYPE", "No.")):
        assert told(problem_of(refused, "r")).keys() == shape
    assert told(internal("r")).keys() == shape
    assert (b"allow", b"GET, POST") in problem_of(not_allowed(["GET", "POST"]), "r").headers


def test_an_answer_is_not_made_large_by_a_bad_request():
    many = Invalid([FieldError(f"{number}" + "x" * 10_000, "Is not a known field.") for number in range(1000)])
    answer = problem_of(many, "r")
    assert len(told(answer)["errors"]) == 100
    assert len(answer.body) < 40_000
