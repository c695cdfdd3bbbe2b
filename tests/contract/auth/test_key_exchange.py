"""While the master key is exchanged replicas use different ones, and nobody notices."""

from __future__ import annotations

from datetime import timedelta

import pytest

from auth_service.keys import SigningKeys
from auth_service.master_key import MasterKey
from auth_service.models import Identity, PendingMail
from auth_service.oauth_store import OAuthStore
from auth_service.one_time_codes import OneTimeCodes
from auth_service.refresh_tokens import RefreshTokens
from auth_service.resealing import reseal
from auth_service.sessions import Sessions
from auth_service.store import AuthStore
from fastcms_common import times
from fastcms_common.redis_connection import connect
from fastcms_common.storage import open_store
from tests.storages import Storage

OLD, NEW = b"o" * 32, b"n" * 32
DAY = timedelta(days=1)


async def test_everything_is_sealed_anew_once_and_opens_with_the_new_key_alone(storage: Storage) -> None:
    storage_of_auth = await open_store(storage.url, "auth")
    store, oauth_store = AuthStore(storage_of_auth), OAuthStore(storage_of_auth)
    await store.prepare()
    await oauth_store.prepare()
    old, both, new = MasterKey(OLD), MasterKey(NEW, OLD), MasterKey(NEW)
    await SigningKeys(store, old).load()
    now = times.now_text()
    await store.add_mail(
        PendingMail(id="m1", purpose="test", message=old.seal(b"hello", "mail:m1"), created=now, due=now)
    )

    assert await reseal(store, oauth_store, both) == 2
    assert await reseal(store, oauth_store, both) == 0

    await SigningKeys(store, new).load()
    (mail,) = await store.sealed_mails()
    assert new.unseal(mail.message, "mail:m1") == b"hello"
    with pytest.raises(ValueError, match="does not open"):
        await SigningKeys(store, old).load()
    await store.close()


async def test_a_secret_that_opens_with_no_key_is_left_as_it_is(storage: Storage) -> None:
    storage_of_auth = await open_store(storage.url, "auth")
    store, oauth_store = AuthStore(storage_of_auth), OAuthStore(storage_of_auth)
    await store.prepare()
    await oauth_store.prepare()
    await SigningKeys(store, MasterKey(OLD)).load()
    before = await store.signing_keys()

    with pytest.raises(ValueError, match="does not open"):
        await reseal(store, oauth_store, MasterKey(NEW, b"x" * 32))

    assert await store.signing_keys() == before
    await store.close()


async def test_a_refresh_that_comes_twice_gets_one_successor_from_replicas_with_different_keys(redis_url: str) -> None:
    redis = connect(redis_url)
    ahead = Sessions(redis, RefreshTokens(NEW, OLD), DAY)
    behind = Sessions(redis, RefreshTokens(OLD, NEW), DAY)
    now = times.now_text()
    identity = Identity(id="u1", realm="users", email="a@b.c", email_key="a@b.c", created=now, updated=now)
    _, first = await behind.open(identity, DAY)

    rotated = await ahead.rotate(ahead.parse(first), "u1", DAY)
    again = await behind.rotate(behind.parse(first), "u1", DAY)

    assert (rotated[0], again) == ("rotated", ("concurrent", rotated[1]))
    # What the replica that is behind would have made itself is no way in.
    outcome, following = await behind.rotate(behind.parse(rotated[1]), "u1", DAY)
    assert outcome == "rotated"
    assert Sessions(redis, RefreshTokens(OLD), DAY).parse(following)
    await redis.aclose()


async def test_a_code_that_one_replica_sent_is_good_at_another_and_counts_as_one_try(redis_url: str) -> None:
    redis = connect(redis_url)
    ahead, behind = OneTimeCodes(redis, NEW, OLD), OneTimeCodes(redis, OLD, NEW)
    code = await behind.issue("users", "a@b.c")

    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    for _ in range(4):
        assert not await ahead.check("users", "a@b.c", wrong, use=True)
    assert await ahead.check("users", "a@b.c", code, use=True)
    assert not await behind.check("users", "a@b.c", code, use=True)
    await redis.aclose()
