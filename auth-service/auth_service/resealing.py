"""Exchanging the master key: everything that is sealed under a former one is sealed anew under the one in force.

It runs beside replicas that work: each secret is swapped only where it still is the one that was read, and what is
sealed meanwhile is sealed under the key in force already. Run again it finds what an interruption has left.
"""

from __future__ import annotations

from auth_service import keys, mails, oauth_providers, second_factors
from auth_service.master_key import MasterKey
from auth_service.oauth_store import OAuthStore
from auth_service.store import AuthStore


async def reseal(store: AuthStore, oauth_store: OAuthStore, master_key: MasterKey) -> int:
    """How many secrets were sealed anew. ValueError where one opens with none of the keys: nothing is lost then, for
    each is opened before it is replaced."""
    renewed = 0
    for key in await store.signing_keys():
        if after := master_key.renewed(key.private, keys.owner(key.kid)):
            renewed += await store.swap_secret(key, key.private, after)
    async for identity in store.scan_identities():
        factor = identity.second_factor
        if factor and (after := master_key.renewed(factor.secret, second_factors.owner(identity))):
            renewed += await store.swap_secret(identity, factor.secret, after)
    for mail in await store.sealed_mails():
        if after := master_key.renewed(mail.message, mails.owner(mail.id)):
            renewed += await store.swap_secret(mail, mail.message, after)
    for provider in await oauth_store.providers():
        sealed = provider.client_secret
        if sealed and (after := master_key.renewed(sealed, oauth_providers.owner(provider.id))):
            renewed += await oauth_store.swap_secret(provider.id, sealed, after)
    return renewed
