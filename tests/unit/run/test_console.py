"""One readable log, whatever becomes of its reader."""

from __future__ import annotations

import os
import time

import pytest

from fastcms_cli import console
from fastcms_cli.console import Console, LineReader


def read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read()


def test_every_line_stands_behind_the_name_of_its_process() -> None:
    ours, theirs = os.pipe()
    log = Console(descriptor=theirs, colour=False)
    log.line("gateway", b"one")
    log.line("auth-service", b"two")
    log.say("three")
    log.block("four\nfive")
    log.close()
    os.close(theirs)
    assert read_all(ours).decode().splitlines() == [
        "gateway             | one",
        "auth-service        | two",
        "fastcms             | three",
        "four",
        "five",
    ]


def test_each_name_keeps_a_colour_of_its_own() -> None:
    ours, theirs = os.pipe()
    log = Console(descriptor=theirs, colour=True)
    for name in ("a", "b", "a"):
        log.line(name, b"x")
    log.close()
    os.close(theirs)
    first, second, third = read_all(ours).split(b"\n")[:3]
    assert first == third
    assert first[:5] != second[:5]


def test_no_colours_for_what_is_no_terminal() -> None:
    ours, theirs = os.pipe()
    log = Console(descriptor=theirs)
    log.line("a", b"x")
    log.close()
    os.close(theirs)
    assert b"\x1b" not in read_all(ours)


def test_a_reader_that_has_gone_costs_nothing_but_its_output() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    log = Console(descriptor=theirs)
    for _ in range(console.BACKLOG * 2):
        log.line("a", b"x")
    log.close()
    os.close(theirs)


def test_a_reader_that_does_not_read_delays_nobody_and_is_told_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "BACKLOG", 10)
    ours, theirs = os.pipe()
    log = Console(descriptor=theirs)
    begun = time.monotonic()
    for _ in range(5000):
        log.line("a", b"x" * 100)
    log.close(patience=0.1)
    assert time.monotonic() - begun < 2
    received = b""
    while b"are lost" not in received:
        received += os.read(ours, 1 << 16)
    log.close()
    os.close(theirs)
    os.close(ours)


async def test_a_pipe_is_read_line_by_line_to_its_end() -> None:
    ours, theirs = os.pipe()
    lines: list[bytes] = []
    reader = LineReader(ours, lines.append)
    for part in (b"one\ntw", b"o\n\nthr", b"ee"):
        os.write(theirs, part)
    os.close(theirs)
    await reader.finished.wait()
    assert lines == [b"one", b"two", b"three"]


async def test_a_line_without_an_end_is_passed_on_in_pieces() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    lines: list[bytes] = []
    reader = LineReader(ours, lines.append)
    sent = os.write(theirs, b"x" * console.LONGEST_LINE)
    os.close(theirs)
    await reader.finished.wait()
    assert sum(map(len, lines)) == sent
