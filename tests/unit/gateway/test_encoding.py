"""Messages to JSON."""

from __future__ import annotations

import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fastcms.admin.v1.admin_pb2 import StartImpersonationResponse
from fastcms.auth.v1.auth_pb2 import ListSessionsResponse, LoginAnswer
from fastcms.auth.v1.identities_pb2 import LockStatus
from gateway import timestamps
from gateway.encoding import compile_encoder
from tests.contract.gateway import made_up


def test_every_field_is_written_and_an_absent_one_is_null():
    text = compile_encoder(LockStatus.DESCRIPTOR)(LockStatus(user_id="u"))
    assert orjson.loads(text) == {
        "user_id": "u",
        "is_locked": False,
        "failed_login_attempts": 0,
        "locked_until": None,
        "remaining_seconds": 0,
    }


def test_every_kind_of_field_has_its_form():
    everything = made_up.modules()[0].Everything
    message = everything(
        text="ä\u0000",
        maybe_flag=False,
        int64_value=2**63 - 1,
        uint64_value=2**64 - 1,
        double_value=1e308,
        float_value=0.1,
        binary=b"\xff\x00",
        json=b'{"n": 9007199254740993, "d": 1.10}',
        colour=2,
        time=Timestamp(seconds=1),
        texts=["a"],
        colours=[1, 7],
        times=[Timestamp(seconds=1, nanos=1000)],
        labels={"a": "b"},
        switches={-1: True},
        children=[everything(right=0)],
        renamed="r",
        json_values=[b"1.10"],
    )
    text = compile_encoder(everything.DESCRIPTOR)(message)
    assert b'"json":{"n": 9007199254740993, "d": 1.10}' in text
    assert b'"json_values":[1.10]' in text
    written = orjson.loads(text)
    assert written["text"] == "ä\u0000"
    assert written["maybe_text"] is None
    assert written["maybe_flag"] is False
    assert written["int64_value"] == 2**63 - 1
    assert written["uint64_value"] == 2**64 - 1
    assert written["float_value"] == 0.1
    assert written["binary"] == "/wA="
    assert written["colour"] == "COLOUR_BLUE"
    assert written["colours"] == ["COLOUR_RED", 7]
    assert written["time"] == "1970-01-01T00:00:01.000Z"
    assert written["times"] == ["1970-01-01T00:00:01.000001Z"]
    assert written["duration"] is None
    assert written["labels"] == {"a": "b"}
    assert written["switches"] == {"-1": True}
    assert written["child"] is None
    assert written["children"][0]["right"] == 0
    assert written["children"][0]["left"] is None
    assert written["calledSo"] == "r"
    assert "renamed" not in written
    assert written["listed"] is None


def test_a_name_that_the_proto_gives_is_kept():
    text = compile_encoder(StartImpersonationResponse.DESCRIPTOR)(StartImpersonationResponse(token="t"))
    assert orjson.loads(text) == {"token": "t", "userId": "", "expiresAt": None}


def test_one_field_can_be_the_whole_answer():
    encode = compile_encoder(ListSessionsResponse.DESCRIPTOR, "sessions")
    assert encode(ListSessionsResponse()) == b"[]"
    answer = ListSessionsResponse()
    answer.sessions.add(id="s", current=True)
    assert orjson.loads(encode(answer))[0]["id"] == "s"


def test_a_json_field_without_a_value_is_null():
    assert orjson.loads(compile_encoder(LoginAnswer.DESCRIPTOR)(LoginAnswer()))["user"] is None


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-03-02T12:30:00Z", "2026-03-02T12:30:00.000Z"),
        ("2026-03-02T12:30:00.5Z", "2026-03-02T12:30:00.500Z"),
        ("2026-03-02T12:30:00.123456Z", "2026-03-02T12:30:00.123456Z"),
        ("2026-03-02T12:30:00.123456789Z", "2026-03-02T12:30:00.123456789Z"),
        ("2026-03-02T12:30:00-01:30", "2026-03-02T14:00:00.000Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
    ],
)
def test_times_are_read_and_written_as_rfc_3339_has_them(text: str, written: str):
    assert timestamps.text_of(timestamps.parse(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-03-02", "2026-03-02T12:30:00", "2026-03-02 12:30:00Z", "2026-03-02T12:30Z"),
        *("2026-13-02T12:30:00Z", "2026-03-02T24:00:00Z", "2026-03-02T12:30:60Z", "20260302T123000.000Z"),
        *("2026-03-02T12:30:00.Z", "2026-03-02T12:30:00.1234567890Z", "2026-03-02T12:30:00+0100"),
        *(
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2026-03-02T12:30:00+25:00",
            "２026-03-02T12:30:00Z",
        ),
        *("2026-W10-1T12:30:00Z", "2026-03-02T12:30:00Zx", "2026-03-02T12:30:00z"),
    ],
)
def test_what_is_not_a_time_is_refused(text: str):
    with pytest.raises(ValueError):
        timestamps.parse(text)
