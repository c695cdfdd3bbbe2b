"""Domain errors there and back."""

from __future__ import annotations

import pytest

from fastcms_common import errors, wire

EVERY = [
    errors.Malformed("Not JSON."),
    errors.Invalid([errors.FieldError("schema.fields[2].name", "Taken."), errors.FieldError("b", "Bad.")]),
    errors.Unauthenticated("Wrong.", reason="INVALID_CREDENTIALS"),
    errors.Denied("Account locked. Try again in 7 seconds.", reason="ACCOUNT_LOCKED", retry_after=7),
    errors.NotFound("No such record."),
    errors.Conflict("Taken.", reason="COLLECTION_EXISTS", metadata={"name": "a"}),
    errors.Stale("Changed."),
    errors.Exhausted("Slow down.", retry_after=60),
    errors.TooLarge("Too large."),
    errors.Unavailable("Away.", reason="REDIS_UNAVAILABLE", retry_after=3),
    errors.TimedOut("Late."),
]


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_wire(error: errors.DomainError):
    back = wire.error_of(wire.status_of(error))
    assert type(back) is type(error)
    assert vars(back) == vars(error)


def test_every_kind_of_error_is_tried():
    assert {type(error) for error in EVERY} == set(errors.DomainError.__subclasses__())


def test_a_failure_without_a_meaning_is_none():
    assert wire.error_of(wire.Status(code=13, message="bug")) is None
    assert wire.error_of(wire.Status(code=99, message="no such code")) is None
