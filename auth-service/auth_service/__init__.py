"""Accounts, sessions and tokens."""

from fastcms_common.without_rich import without_rich

with without_rich():
    import httpx  # noqa: F401 - first of all, or its command line loads rich with it
