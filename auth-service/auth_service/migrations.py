"""How the data of auth-service (identities, keys, grants and mails) came to be what this release works on.

A new step goes at the end; what a step may do, and what it must not, is in deploy/UPGRADING.md.
"""

from __future__ import annotations

from fastcms_common.storage import Store
from fastcms_common.storage.migrations import Migration, Progress


async def _begin(_: Store, progress: Progress) -> None:
    """Data as releases up to 0.1 have made it, and new databases: nothing in it has to be changed."""
    await progress.reached("0.1")


MIGRATIONS = (Migration(1, "as of 0.1", _begin),)
