"""One readable log: the lines of every process, each behind the name of the one that wrote it."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
"""ANSI foreground colours, given to the names in the order in which they first speak; no red, which means trouble."""

BACKLOG = 10_000
"""Lines kept for a reader that has stopped reading (`make run | less`) before further ones are dropped."""

LONGEST_LINE = 64 * 1024


class Console:
    """Writes lines to one descriptor from a thread of its own.

    A terminal that is held (Ctrl-S) or a pipe that nobody reads would otherwise stop the supervisor, and then, through
    their full pipes, the services. A reader that has gone costs its output and nothing else.
    """

    def __init__(self, *, descriptor: int = 1, colour: bool | None = None) -> None:
        self._descriptor = descriptor
        self._colour = os.isatty(descriptor) and "NO_COLOR" not in os.environ if colour is None else colour
        self._names: dict[str, bytes] = {}
        self._dropped = 0
        self._lines: queue.Queue[bytes | None] = queue.Queue(BACKLOG)
        self._thread = threading.Thread(target=self._write_all, name="console", daemon=True)
        self._thread.start()

    def line(self, name: str, text: bytes) -> None:
        """Print one line of a process."""
        self._put(self._prefix(name) + text + b"\n")

    def say(self, text: str) -> None:
        """Print one line of the supervisor's own."""
        self.line("fastcms", text.encode())

    def block(self, text: str) -> None:
        """Print several lines as they are, without a name before them."""
        self._put(text.encode() + b"\n")

    def close(self, patience: float = 1.0) -> None:
        """Print what is waiting, unless nobody has read it within `patience` seconds."""
        try:
            self._lines.put(None, timeout=patience)
        except queue.Full:
            return
        self._thread.join(patience)

    def _put(self, line: bytes) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _prefix(self, name: str) -> bytes:
        if name not in self._names:
            colour = COLOURS[len(self._names) % len(COLOURS)]
            label = f"{name:<19} | "
            self._names[name] = (f"\x1b[{colour}m{label}\x1b[0m" if self._colour else label).encode()
        return self._names[name]

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._dropped:
                line = b"(%d lines were not read in time and are lost)\n" % self._dropped + line
                self._dropped = 0
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                break
        else:
            return
        # Nobody is left to read. The queue is emptied all the same, so that `close` finds its place in it.
        while self._lines.get() is not None:
            continue


class LineReader:
    """Passes on what arrives in a pipe, line by line; closes the pipe when its last writer has gone."""

    def __init__(self, descriptor: int, on_line: Callable[[bytes], None]) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._on_line = on_line
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self.finished = asyncio.Event()
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, LONGEST_LINE)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            if line:
                self._on_line(line)
        if not data:
            self.close()

    def close(self) -> None:
        if not self.finished.is_set():
            self.finished.set()
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
