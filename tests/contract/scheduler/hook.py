"""An HTTP server that does as the path says, for jobs to call."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Hook:
    """`answers` are the statuses to give one after the other, the last one for ever; `location` goes with redirects."""

    answers: list[int] = field(default_factory=lambda: [200])
    location: str | None = None
    size: int = 2
    silent: bool = False
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._connections: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.close()
            with contextlib.suppress(ConnectionError):
                await connection.wait_closed()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            # The client went away: what it has sent so far is in `requests`.
            self._connections.discard(writer)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        self.requests.append(Request(method, path, headers, body))
        if self.silent:
            await reader.read()
            return
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        location = f"location: {self.location}\r\n" if self.location else ""
        head_out = f"HTTP/1.1 {status} X\r\ncontent-length: {self.size}\r\nconnection: close\r\n{location}\r\n"
        writer.write(head_out.encode() + b"x" * self.size)
        await writer.drain()
