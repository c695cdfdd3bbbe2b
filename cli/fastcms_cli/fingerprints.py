"""What tells a key without giving it away: a backup says which keys what is sealed in it needs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastcms_cli.deployment import Failed


def fingerprint(file: Path) -> str:
    """16 hex digits of a hash of the first key in the file. Raises Failed where there is none to read."""
    try:
        first = file.read_text("ascii").split()[0]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise Failed(f"the key {file} cannot be read: {error}") from None
    return hashlib.sha256(b"fastcms key fingerprint:" + first.rstrip("=").encode()).hexdigest()[:16]
