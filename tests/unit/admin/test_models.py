"""Events as rows and back."""

from __future__ import annotations

import orjson
import pytest

from admin_service.models import event_of, row_of
from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms_common.audit import build_event
from fastcms_common.context import Caller, RequestContext, bind


def test_an_event_comes_back_as_it_was():
    caller = Caller(id="u1", role="user", actor_id="a1", session_id="s1")
    asked = RequestContext(request_id="r1", client_ip="192.0.2.1", user_agent="agent", caller=caller)
    with bind(asked):
        event = build_event(
            "auth", "login", description="Signed in.", user_email="a@example.com", details={"n": 2**53 + 1, "ü": None}
        )
    assert event_of(row_of(event)) == event


def test_what_is_absent_stays_absent():
    event = build_event("system", "started", description="Started.")
    back = event_of(row_of(event))
    assert not back.HasField("user_id")
    assert not back.HasField("request_id")


def test_nothing_that_a_client_sends_keeps_an_event_out():
    event = build_event("auth", "login_failed", description="x" * 5_000, user_email="a\0b", details={"a": "\0"})
    event.user_agent = "y" * 100_000
    event.details = b'{"big": "' + b"z" * 1_000_000 + b'"}'
    row = row_of(event)
    assert row["user_email"] == "a\N{REPLACEMENT CHARACTER}b"
    assert len(row["user_agent"]) == len(row["description"]) == 2_000
    assert orjson.loads(row["details"]).keys() == {"cut"}
    assert "\0" not in repr(row)


@pytest.mark.parametrize(
    ("details", "kept"),
    [
        (b"", {}),
        (b"[1]", {"value": [1]}),
        (b"{broken", {"unreadable": "{broken"}),
        (b"\xff", {"unreadable": "\N{REPLACEMENT CHARACTER}"}),
    ],
)
def test_details_are_always_an_object(details: bytes, kept: object):
    event = build_event("system", "started", description="Started.")
    event.details = details
    assert orjson.loads(row_of(event)["details"]) == kept


def test_an_event_without_an_id_or_a_time_is_no_event():
    with pytest.raises(ValueError):
        row_of(AuditEvent(id="e1"))
    event = build_event("system", "started", description="Started.")
    event.id = ""
    with pytest.raises(ValueError):
        row_of(event)
