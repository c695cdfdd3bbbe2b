"""A stream, as the client sees it: the calls on it, and what waits to be written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from fastcms_common.multiplex import frames
from fastcms_common.multiplex.calls import MadeCall

_LOST = "The connection to the service was lost."


class Stream:
    """Carries calls once the server has said how many it takes; more wait here for their turn.

    `elsewhere` is given the calls that were never sent when the stream closes or is lost.
    """

    def __init__(self, exchange: Any, calls_at_once: int, elsewhere: Callable[[MadeCall], None]) -> None:
        self._exchange = exchange
        self._limit = calls_at_once
        self._elsewhere = elsewhere
        self._loop = asyncio.get_running_loop()
        self._last_id = 0
        self._calls: dict[int, MadeCall] = {}
        self._waiting: deque[MadeCall] = deque()
        self._out: deque[bytes] = deque()
        self._given_up: list[int] = []
        self._wake = asyncio.Event()
        self._leaving = False
        # Whether nothing more is written or read.
        self._ended = False
        # Set when the stream takes no more calls.
        self.closing = asyncio.Event()

    @property
    def load(self) -> int:
        """How many calls are here and not yet answered."""
        return len(self._calls) + len(self._waiting)

    def start(self, call: MadeCall) -> None:
        if self._ended:
            # In this turn of the event loop, before it could be taken out of use: nobody would answer.
            self._elsewhere(call)
            return
        call.stream = self
        if len(self._calls) < self._limit:
            self._send(call)
        else:
            self._waiting.append(call)

    def give_up(self, call: MadeCall) -> None:
        """The one who made `call` does not wait for it any more."""
        call.stream = None
        if self._calls.pop(call.id, None) is not None:
            self._given_up.append(call.id)
            self._next()
            self._wake.set()

    def leave(self) -> None:
        """Takes no more calls; those that are sent are still answered."""
        if not self._leaving:
            self._leaving = True
            self.closing.set()
            self._wake.set()
            self._pass_on()

    async def run(self) -> None:
        """Until the server has ended the stream, or it is lost: then its calls fail as UNAVAILABLE."""
        writing = self._loop.create_task(self._write())
        try:
            await self._read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, frames.BadFrame):
            # Whatever it was, what follows is the same.
            self._exchange.cancel()
        finally:
            writing.cancel()
            self._leaving = self._ended = True
            self.closing.set()
            calls, self._calls = list(self._calls.values()), {}
            for call in calls:
                call.fail(grpc.StatusCode.UNAVAILABLE, _LOST)
            self._pass_on()

    async def _read(self) -> None:
        while True:
            frame = await self._exchange.read()
            if frame is grpc.aio.EOF:
                return
            word, answers, parts = frames.decode_answers(frame)
            calls = self._calls
            for id_, part in parts:
                call = calls.get(id_)
                if call is not None:
                    if call.parts is None:
                        call.parts = []
                    call.parts.append(part)
            for answer in answers:
                call = calls.pop(answer[0], None)
                # Of a call that was given up, the answer may have been on its way.
                if call is not None:
                    call.answer(answer)
            if self._waiting:
                self._next()
            if word == frames.GO_AWAY:
                self.leave()
            if self._leaving:
                # The last one to leave closes the stream; until then there may be a call to give up.
                self._wake.set()

    def _next(self) -> None:
        while self._waiting and len(self._calls) < self._limit:
            call = self._waiting.popleft()
            if not call.done():
                self._send(call)

    def _pass_on(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            if not call.done():
                call.stream = None
                self._elsewhere(call)

    def _send(self, call: MadeCall) -> None:
        id_ = self._last_id = self._last_id + 1
        try:
            entry = frames.entry((id_, call.method, call.time_remaining(), call.metadata, call.request))
        except frames.BadValue as error:
            call.fail(grpc.StatusCode.INTERNAL, f"The call cannot be encoded: {error}")
            return
        call.id = id_
        self._calls[id_] = call
        self._out.append(entry)
        self._wake.set()

    async def _write(self) -> None:
        finished = False
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._out or self._given_up:
                    await self._exchange.write(self._frame())
                if self._leaving and not self._calls:
                    self._ended = True
                    await self._exchange.done_writing()
                    finished = True
                    return
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The reading side learns of it too, and tells the calls.
            return
        finally:
            if not finished:
                # Whatever it was: without a writer the stream is of no use.
                self._exchange.cancel()

    def _frame(self) -> bytes:
        size = 0
        calls: list[bytes] = []
        while self._out and size < frames.FRAME:
            entry = self._out.popleft()
            calls.append(entry)
            size += len(entry)
        given_up, self._given_up = self._given_up, []
        return frames.calls_frame(calls, given_up)
