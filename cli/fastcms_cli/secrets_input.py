"""Passwords and tokens: from a terminal, a file or standard input. Never from the command line, which `ps` shows."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from fastcms_cli.deployment import Failed


def password(file: Path | None, prompt: str, *, twice: bool = False) -> str:
    """The first line of `file` (`-`: of standard input); without a file, what is typed at the terminal."""
    if file is None:
        return _typed(prompt, twice=twice)
    try:
        text = sys.stdin.readline() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{file} cannot be read: {error}") from None
    line = text.split("\n", 1)[0].rstrip("\r")
    if not line:
        raise Failed("there is no password: the first line is empty")
    return line


def _typed(prompt: str, *, twice: bool) -> str:
    if not sys.stdin.isatty():
        raise Failed("there is no terminal to ask at: use --password-file (- is standard input)")
    given = getpass.getpass(f"{prompt}: ")
    if not given:
        raise Failed("there is no password: nothing was typed")
    if twice and getpass.getpass(f"{prompt}, once more: ") != given:
        raise Failed("the two are not the same")
    return given
