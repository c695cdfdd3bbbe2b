"""Settings: changed, refused, audited, put in force."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from fastcms.admin.v1 import audit_pb2, settings_pb2, settings_pb2_grpc
from fastcms_common import redis_keys
from fastcms_common.cancelling import end
from fastcms_common.errors import Denied, Invalid
from fastcms_common.live_settings import LiveSettings
from fastcms_common.sealing import Sealer
from fastcms_common.service_tokens import read_key
from tests.contract.admin.conftest import People
from tests.contract.admin.server import AdminServer, admin_server
from tests.mongo_server import ONE_WINNER
from tests.storages import needs


def stub(server: AdminServer) -> Any:
    return settings_pb2_grpc.SettingsServiceStub(server.channel)


async def limits(server: AdminServer, bearer: str) -> settings_pb2.RateLimitSettings:
    return await server.call(stub(server).GetRateLimitSettings, settings_pb2.GetRateLimitSettingsRequest(), bearer)


async def change(server: AdminServer, bearer: str, **values: Any) -> settings_pb2.RateLimitSettings:
    mask = FieldMask(paths=list(values))
    request = settings_pb2.UpdateRateLimitSettingsRequest(**values, update_mask=mask)
    return await server.call(stub(server).UpdateRateLimitSettings, request, bearer)


async def test_what_the_contract_says_is_in_force_at_first(server: AdminServer, people: People):
    first = await limits(server, people.root)
    assert (first.enabled, first.credentials_per_minute, first.requests_per_minute) == (True, 10, 600)


async def test_a_change_changes_what_it_names_and_nothing_else(server: AdminServer, people: People):
    changed = await change(server, people.root, credentials_per_minute=20)
    assert (changed.enabled, changed.credentials_per_minute, changed.requests_per_minute) == (True, 20, 600)
    assert await limits(server, people.root) == changed


async def test_a_change_is_in_the_log_with_old_and_new(server: AdminServer, people: People):
    await change(server, people.root, credentials_per_minute=20, enabled=True)
    (event,) = await server.events_until(people.root, 1, event_action="settings_changed")
    assert (event.user_id, event.resource_type, event.resource_id) == (people.root_id, "settings", "rate_limits")
    assert orjson.loads(event.details) == {
        "old": {"credentials_per_minute": 10},
        "new": {"credentials_per_minute": 20},
    }
    await change(server, people.root, credentials_per_minute=20)
    assert (await server.events(people.root, event_action="settings_changed")).total == 1


@pytest.mark.parametrize("values", [{"credentials_per_minute": 0}, {"requests_per_minute": -1}])
async def test_a_bad_value_is_named(server: AdminServer, people: People, values: dict[str, Any]):
    with pytest.raises(Invalid) as caught:
        await change(server, people.root, **values)
    assert [field.field for field in caught.value.fields] == list(values)


async def test_a_key_without_a_value_is_named(server: AdminServer, people: People):
    request = settings_pb2.UpdateRateLimitSettingsRequest(update_mask=FieldMask(paths=["enabled"]))
    with pytest.raises(Invalid) as caught:
        await server.call(stub(server).UpdateRateLimitSettings, request, people.root)
    assert [field.field for field in caught.value.fields] == ["enabled"]


async def test_users_change_nothing(server: AdminServer, people: People):
    with pytest.raises(Denied):
        await change(server, people.user, enabled=False)


async def combined(server: AdminServer, bearer: str, **categories: Any) -> settings_pb2.Settings:
    request = settings_pb2.UpdateSettingsRequest(**{name: orjson.dumps(values) for name, values in categories.items()})
    return await server.call(stub(server).UpdateSettings, request, bearer)


async def test_several_categories_change_together(server: AdminServer, people: People):
    settings = await combined(server, people.root, rate_limits={"enabled": False}, general={"audit_retention_days": 30})
    assert settings.rate_limits.enabled is False
    assert settings.general.audit_retention_days == 30
    shown = await server.call(stub(server).GetSettings, settings_pb2.GetSettingsRequest(), people.root)
    assert shown == settings


async def test_one_bad_value_and_nothing_changes(server: AdminServer, people: People):
    with pytest.raises(Invalid) as caught:
        await combined(
            server,
            people.root,
            rate_limits={"enabled": False, "colour": "red", "credentials_per_minute": True},
            general={"audit_retention_days": 40_000},
        )
    assert sorted(field.field for field in caught.value.fields) == [
        "general.audit_retention_days",
        "rate_limits.colour",
        "rate_limits.credentials_per_minute",
    ]
    assert (await limits(server, people.root)).enabled is True


@pytest.mark.parametrize("value", [None, [], "x", {"enabled": None}, {"enabled": 1}, {"credentials_per_minute": 1.5}])
async def test_nothing_but_an_object_of_good_values_is_taken(server: AdminServer, people: People, value: Any):
    with pytest.raises(Invalid) as caught:
        await combined(server, people.root, rate_limits=value)
    assert caught.value.fields[0].field.startswith("rate_limits")


async def in_force(server: AdminServer, value: int) -> None:
    seen: list[int] = []
    live = LiveSettings(server.redis, {"rate_limits": lambda values: seen.append(values["credentials_per_minute"])})
    task = asyncio.create_task(live.watch())
    async with asyncio.timeout(5):
        while not seen or seen[-1] != value:
            await asyncio.sleep(0.02)
    await end([task])


async def test_whoever_follows_hears_of_a_change_within_a_second(server: AdminServer, people: People):
    seen: list[int] = []
    live = LiveSettings(server.redis, {"rate_limits": lambda values: seen.append(values["credentials_per_minute"])})
    task = asyncio.create_task(live.watch())
    await in_force(server, 10)
    await change(server, people.root, credentials_per_minute=20)
    async with asyncio.timeout(1):
        while seen[-1] != 20:
            await asyncio.sleep(0.01)
    await end([task])


async def test_what_redis_lost_is_put_in_force_again(server: AdminServer, people: People):
    await change(server, people.root, credentials_per_minute=20)
    await server.redis.delete(redis_keys.SETTINGS)
    await in_force(server, 20)


async def test_changes_outlive_a_restart_and_come_before_the_environment(
    server: AdminServer, people: People, tmp_path: Path
):
    await change(server, people.root, credentials_per_minute=20)
    environment = {"rate_limit_credentials_per_minute": 5, "rate_limit_requests_per_minute": 7}
    async with admin_server(server.auth, tmp_path, server.settings.storage_url, **environment) as second:
        found = await limits(second, people.root)
        assert (found.credentials_per_minute, found.requests_per_minute) == (20, 7)


@needs(ONE_WINNER)
async def test_twenty_changes_at_once_on_two_replicas_are_all_kept(server: AdminServer, people: People, tmp_path: Path):
    async with admin_server(server.auth, tmp_path, server.settings.storage_url) as second:
        await asyncio.gather(
            *(change((server, second)[n % 2], people.root, credentials_per_minute=n + 1) for n in range(0, 20, 2)),
            *(change((server, second)[n % 2], people.root, requests_per_minute=n + 1) for n in range(1, 20, 2)),
        )
        found = await limits(server, people.root)
        assert found.credentials_per_minute % 2 == 1
        assert found.requests_per_minute % 2 == 0
        assert await limits(second, people.root) == found
        stored = orjson.loads(await server.redis.hget(redis_keys.SETTINGS, "rate_limits"))
        assert stored["version"] == (await server.events(people.root, event_action="settings_changed")).total


async def mail(server: AdminServer, bearer: str, **values: Any) -> settings_pb2.MailSettings:
    given = {name: value for name, value in values.items() if value is not None}
    request = settings_pb2.UpdateMailSettingsRequest(**given, update_mask=FieldMask(paths=list(values)))
    return await server.call(stub(server).UpdateMailSettings, request, bearer)


async def test_a_secret_is_kept_sealed_and_never_shown(server: AdminServer, people: People):
    url = "smtp://cms:hunter2@mail.example.com:2525"
    shown = await mail(server, people.root, smtp_url=url, mail_from="FastCMS <cms@example.com>")
    assert (shown.smtp_url_set, shown.mail_from) == (True, "FastCMS <cms@example.com>")
    copy = await server.redis.hget(redis_keys.SETTINGS, "mail")
    assert b"hunter2" not in copy
    sealer = Sealer(read_key(server.settings.service_key_file))
    assert sealer.open(orjson.loads(copy)["values"]["smtp_url"], "mail.smtp_url") == url
    (event,) = await server.events_until(people.root, 1, event_action="settings_changed")
    assert orjson.loads(event.details) == {
        "old": {"smtp_url": None, "mail_from": None},
        "new": {"smtp_url": "***", "mail_from": "FastCMS <cms@example.com>"},
    }
    await mail(server, people.root, smtp_url=url)
    assert (await server.events(people.root, event_action="settings_changed")).total == 1


async def test_what_is_set_to_null_is_again_as_the_environment_says(server: AdminServer, people: People):
    await mail(server, people.root, smtp_url="smtps://mail.example.com", mail_from="cms@example.com")
    shown = await mail(server, people.root, smtp_url=None, mail_from=None)
    assert not shown.smtp_url_set
    assert not shown.HasField("mail_from")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("smtp_url", "http://mail.example.com"),
        ("smtp_url", "smtp://"),
        ("smtp_url", "smtp://mail:port"),
        ("smtp_url", "x" * 1001),
        ("smtp_url", "smtp://mail.example.com?starttls=maybe"),
        ("smtp_url", "smtp://mail.example.com?start_tls=off"),
        ("smtp_url", "smtp://mail.example.com?starttls"),
        ("smtp_url", "smtp://cms:25#9@mail.example.com"),
        ("smtp_url", "smtp://cms:25/9@mail.example.com"),
        ("smtp_url", "smtp://mail.example.com\r\n"),
        ("smtp_url", "smtp://mail.example.com\0"),
        ("mail_from", "nobody"),
        ("mail_from", "a@example.com\r\nBcc: b@example.com"),
        ("mail_from", ""),
    ],
)
async def test_a_bad_mail_setting_is_named(server: AdminServer, people: People, key: str, value: str):
    with pytest.raises(Invalid) as caught:
        await mail(server, people.root, **{key: value})
    assert [field.field for field in caught.value.fields] == [key]


async def test_the_category_of_auth_service_is_shown_and_changed_with_the_others(server: AdminServer, people: People):
    settings = await combined(server, people.root, auth={"otp_enabled": True}, rate_limits={"enabled": False})
    assert (settings.auth.otp_enabled, settings.auth.password_min_length) == (True, 8)
    assert settings.rate_limits.enabled is False
    for auth in ({"colour": "red"}, {"otp_enabled": 1}, {"password_min_length": 0}, {"password_min_length": 200}):
        with pytest.raises(Invalid) as caught:
            await combined(server, people.root, auth=auth, rate_limits={"enabled": True})
        assert [field.field for field in caught.value.fields] == [f"auth.{next(iter(auth))}"]
    assert (await limits(server, people.root)).enabled is False


async def test_retention_obeys_the_settings(server: AdminServer, people: People):
    bearer = await server.auth.service_token("scheduler-service")
    for days, fence in ((0, 1), (1, 2)):
        await combined(server, people.root, general={"audit_retention_days": days})
        request = audit_pb2.DeleteOldAuditEventsRequest(fencing_token=fence)
        assert (await server.call(server.audit.DeleteOldAuditEvents, request, bearer)).deleted == 0
    assert (await server.verify(people.root)).ok
