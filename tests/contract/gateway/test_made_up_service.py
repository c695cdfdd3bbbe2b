"""An rpc that nobody told the gateway about is served: routes, codecs and answers come from its proto alone."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from fastcms_common import reach
from tests.contract.gateway.server import FAILURES, Running, running
from tests.redis_process import RedisProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL_BUT_TEXT = {
    "maybe_text": None,
    "flag": False,
    "maybe_flag": None,
    "int32_value": 0,
    "int64_value": 0,
    "uint32_value": 0,
    "uint64_value": 0,
    "sint64_value": 0,
    "fixed32_value": 0,
    "maybe_int64": None,
    "double_value": 0.0,
    "float_value": 0.0,
    "binary": "",
    "json": None,
    "colour": "COLOUR_UNSPECIFIED",
    "time": None,
    "duration": None,
    "texts": [],
    "int64_values": [],
    "colours": [],
    "times": [],
    "labels": {},
    "switches": {},
    "child": None,
    "children": [],
    "left": None,
    "right": None,
    "calledSo": "",
    "listed": None,
    "json_values": [],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[True, False], ids=["multiplexed", "plain"])
async def gateway(redis_server: RedisProcess, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(redis_server.url, multiplex=request.param) as started:
        yield started


async def test_a_body_reaches_the_rpc_and_its_answer_comes_back_whole(gateway: Running):
    answer = await gateway.client.post("/made-up/echo", json={"text": "Grüße \u0000 😀"})
    assert answer.status_code == httpx.codes.OK
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"text": "Grüße \u0000 😀", **ALL_BUT_TEXT}


async def test_numbers_stay_exact(gateway: Running):
    body = b'{"int64_value": 9223372036854775807, "json": {"a": 123456789012345678901234567890, "b": 1.10}}'
    answer = await gateway.client.post("/made-up/echo", content=body, headers={"Content-Type": "application/json"})
    assert b'"int64_value":9223372036854775807' in answer.content
    assert b'"json":{"a": 123456789012345678901234567890, "b": 1.10}' in answer.content


async def test_another_binding_takes_part_of_the_message_from_the_path(gateway: Running):
    answer = await gateway.client.put("/made-up/echoes/a%2Fb%20%C3%A4", json={"flag": True})
    assert answer.json()["text"] == "a/b ä"
    twice = await gateway.client.put("/made-up/echoes/a", json={"text": "b"})
    assert twice.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert [error["field"] for error in twice.json()["errors"]] == ["text"]


async def test_query_parameters_are_typed(gateway: Running):
    answer = await gateway.client.get(
        "/made-up/echo/-7",
        params={
            "text": "a b+c",
            "flag": "true",
            "int64_value": "9007199254740993",
            "double_value": "1.5",
            "time": "2026-01-01T00:00:00Z",
            "texts": ["x", "y"],
            "colour": "COLOUR_RED",
        },
    )
    told = answer.json()
    assert told["int32_value"] == -7
    assert told["text"] == "a b+c"
    assert told["int64_value"] == 9007199254740993
    assert told["texts"] == ["x", "y"]
    assert told["time"] == "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/made-up/echo/x", "int32_value"),
        ("/made-up/echo/99999999999", "int32_value"),
        ("/made-up/echo/1?flag=1", "flag"),
        ("/made-up/echo/1?int64_value=1_0", "int64_value"),
        ("/made-up/echo/1?int64_value=%D9%A3", "int64_value"),
        ("/made-up/echo/1?int64_value=", "int64_value"),
        ("/made-up/echo/1?uint32_value=-1", "uint32_value"),
        ("/made-up/echo/1?double_value=nan", "double_value"),
        ("/made-up/echo/1?double_value=1e400", "double_value"),
        ("/made-up/echo/1?colour=RED", "colour"),
        ("/made-up/echo/1?time=yesterday", "time"),
        ("/made-up/echo/1?int32_value=1", "int32_value"),
        ("/made-up/echo/1?child=x", "child"),
        ("/made-up/echo/1?text=a&text=b", "text"),
        ("/made-up/echo/1?nothing=1", "nothing"),
        ("/made-up/me2", ""),
    ],
)
async def test_a_bad_parameter_is_named(gateway: Running, path: str, field: str):
    answer = await gateway.client.get(path)
    if not field:
        assert answer.status_code == httpx.codes.NOT_FOUND
        return
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("path", ["/made-up/things/%ff", "/made-up/things/1?a=%ff", "/made-up/things/1?%c3=1"])
async def test_what_is_not_utf_8_is_malformed(gateway: Running, path: str):
    answer = await gateway.client.get(path)
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert answer.json()["code"] == "MALFORMED_URL"


async def test_a_query_map_keeps_what_no_field_takes(gateway: Running):
    answer = await gateway.client.get("/made-up/things/t?size=3&team=a&%C3%A4=b")
    assert answer.content.endswith(b'"exact":9007199254740993.10}')
    assert answer.json()["query"] == {"team": "a", "ä": "b"}
    assert answer.json()["size"] == 3


async def test_one_field_of_an_answer_can_be_the_body(gateway: Running):
    answer = await gateway.client.get("/made-up/things?tag=a&tag=b")
    assert answer.json() == [{"id": "a", "name": None}, {"id": "b", "name": None}]


async def test_a_change_tells_which_keys_the_body_holds(gateway: Running):
    answer = await gateway.client.patch(
        "/made-up/things/t", json={"name": None, "number": 5}, headers={"If-Match": '"v1"'}
    )
    told = answer.json()
    assert told["update_mask"] == "name,number"
    assert told["name"] is None
    assert told["id"] == "t"
    refused = await gateway.client.patch("/made-up/things/t", json={"update_mask": "id", "if_match": "x"})
    assert {error["field"] for error in refused.json()["errors"]} == {"update_mask", "if_match"}


async def test_a_parameter_can_stand_in_query_or_body_but_not_in_both(gateway: Running):
    assert (await gateway.client.patch("/made-up/things/t?name=a")).json()["name"] == "a"
    assert (await gateway.client.patch("/made-up/things/t?name=a", json={"number": 1})).json()["name"] == "a"
    both = await gateway.client.patch("/made-up/things/t?name=a", json={"name": "b"})
    assert [error["field"] for error in both.json()["errors"]] == ["name"]
    assert (await gateway.client.patch("/made-up/things/t?number=1")).status_code == httpx.codes.UNPROCESSABLE_ENTITY


async def test_all_that_is_wrong_is_told_at_once(gateway: Running):
    answer = await gateway.client.patch("/made-up/things/t?zz=1&name=toolong", json={"number": "x", "nothing": 1})
    assert {error["field"] for error in answer.json()["errors"]} == {"zz", "name", "number", "nothing"}


async def test_a_raw_body_is_passed_on_untouched(gateway: Running):
    body = b'{ "n": 9007199254740993, "d": 1.10 }'
    answer = await gateway.client.post(
        "/made-up/raw?name=x", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == httpx.codes.CREATED
    assert answer.content == body


@pytest.mark.parametrize("path", ["/made-up/raw", "/made-up/echo", "/made-up/govern"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
    ids=lambda headers: " ".join(headers.values()) or "none",
)
async def test_a_body_that_is_not_json_is_not_looked_at(gateway: Running, path: str, headers: dict[str, str]):
    headers = headers | await gateway.sign_in(role="admin")
    answer = await gateway.client.post(path, content=b"{}", headers=headers)
    assert answer.status_code == httpx.codes.UNSUPPORTED_MEDIA_TYPE
    assert answer.json()["code"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize(
    "kind", ["application/json", 'application/JSON;charset="UTF-8"', "application/merge-patch+json"]
)
async def test_json_has_several_names(gateway: Running, kind: str):
    answer = await gateway.client.post("/made-up/echo", content=b'{"text":"a"}', headers={"Content-Type": kind})
    assert answer.status_code == httpx.codes.OK


async def test_no_body_is_an_empty_one(gateway: Running):
    assert (await gateway.client.post("/made-up/echo")).status_code == httpx.codes.OK


async def test_a_route_without_a_body_takes_an_empty_object_and_nothing_else(gateway: Running):
    headers = await gateway.sign_in(role="admin")
    assert (await gateway.client.post("/made-up/govern", headers=headers)).status_code == httpx.codes.NO_CONTENT
    empty = await gateway.client.post("/made-up/govern", json={}, headers=headers)
    assert empty.status_code == httpx.codes.NO_CONTENT
    assert empty.content == b""
    assert "content-type" not in empty.headers
    refused = await gateway.client.post("/made-up/govern", json={"force": True}, headers=headers)
    assert [error["field"] for error in refused.json()["errors"]] == ["force"]


@pytest.mark.parametrize("how", FAILURES)
async def test_a_failure_is_told_as_a_problem(gateway: Running, how: str):
    error = FAILURES[how]
    answer = await gateway.client.post("/made-up/fail", json={"how": how})
    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["status"] == answer.status_code
    assert told["code"] == error.reason
    assert told["request_id"] == answer.headers["x-request-id"]
    assert told["errors"] == [{"field": field.field, "message": field.message} for field in error.fields]
    assert "secret-host" not in answer.text
    if error.retry_after:
        assert answer.headers["retry-after"] == str(error.retry_after)
    if how == "policy":
        assert told["detail"] == ["Too short", "No digit"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        *(("UNAVAILABLE", 503), ("CANCELLED", 503), ("UNIMPLEMENTED", 503), ("DEADLINE_EXCEEDED", 504)),
        *(("INTERNAL", 500), ("UNKNOWN", 500), ("DATA_LOSS", 500)),
    ],
)
async def test_a_failure_without_a_meaning_leaks_nothing(gateway: Running, code: str, status: int):
    answer = await gateway.client.post("/made-up/fail", json={"how": code})
    assert answer.status_code == status
    assert "secret-host" not in answer.text
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("multiplex", [True, False])
async def test_a_service_that_is_down_is_a_503(redis_url: str, monkeypatch: pytest.MonkeyPatch, multiplex: bool):
    monkeypatch.setattr(reach, "PATIENCE", 0.1)
    async with running(redis_url, multiplex=multiplex) as gateway:
        await gateway.service.stop()
        answer = await gateway.client.post("/made-up/echo", json={})
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["code"] == "SERVICE_UNAVAILABLE"


@pytest.mark.parametrize("multiplex", [True, False])
async def test_a_service_that_is_away_for_a_moment_is_waited_for(redis_url: str, multiplex: bool):
    async with running(redis_url, multiplex=multiplex) as gateway:
        await gateway.service.stop()
        asked = [
            *(asyncio.create_task(gateway.client.post("/made-up/echo", json={})) for _ in range(10)),
            asyncio.create_task(gateway.client.get("/made-up/download?pieces=2&size=10")),
            asyncio.create_task(gateway.client.post("/made-up/upload/a", content=b"a piece")),
            asyncio.create_task(gateway.client.post("/made-up/exchange/a", content=b"a piece")),
        ]
        _, waiting = await asyncio.wait(asked, timeout=0.5)
        assert waiting == set(asked)
        await gateway.service.start()
        assert [(await one).status_code for one in asked] == [httpx.codes.OK] * len(asked)


@pytest.mark.parametrize("multiplex", [True, False])
async def test_what_a_service_that_dies_was_only_to_read_is_read_again(redis_url: str, multiplex: bool):
    async with running(redis_url, multiplex=multiplex) as gateway:
        paths = ("/made-up/things/slow", "/made-up/download?fail_after=slow&pieces=2&size=3")
        read = [asyncio.create_task(gateway.client.get(path)) for path in paths]
        written = asyncio.create_task(gateway.client.post("/made-up/fail", json={"how": "slow"}))
        async with asyncio.timeout(20):
            while gateway.servicer.slow_calls < 3:
                await asyncio.sleep(0.01)
        await gateway.service.stop()
        # Of this nobody knows whether it was done.
        assert (await written).status_code == httpx.codes.SERVICE_UNAVAILABLE
        gateway.servicer.slow_seconds = 0
        await gateway.service.start()
        assert [(await one).status_code for one in read] == [httpx.codes.OK] * 2
        assert read[1].result().content == b"000111"
        assert gateway.servicer.slow_calls == 5


async def test_a_large_answer_comes_whole(gateway: Running):
    answer = await gateway.client.get("/made-up/things/huge")
    assert hashlib.sha256(answer.content).hexdigest() == hashlib.sha256(b'"' + b"x" * 8_000_000 + b'"').hexdigest()


async def test_many_calls_at_once_each_get_their_own_answer(gateway: Running):
    answers = await asyncio.gather(
        *(gateway.client.post("/made-up/echo", json={"int32_value": number}) for number in range(200))
    )
    assert [answer.json()["int32_value"] for answer in answers] == list(range(200))
