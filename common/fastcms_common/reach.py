"""Patience with a service that is out of reach for a moment: replaced, restarted, or between two replicas.

A call that is made meanwhile fails at once, without having been sent anywhere; who waits before it loses nothing.
"""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

# Seconds. What starts anew is back by then; what is not is down, and calls to it fail at once.
PATIENCE = 5.0
_LOOK_EVERY = 0.01
_DECIDED = (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.SHUTDOWN)


class Reach:
    """Whether the service behind a channel can be called."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._looking: dict[bool, asyncio.Task[bool]] = {}

    async def wait(self, *, plain: bool = False) -> bool:
        """Returns when a call can be made, or the service has been away for `PATIENCE` seconds; whether it is there.

        `plain` is for calls that take no stream where there are streams (`MultiplexedChannel`).
        """
        if self._reached(plain):
            self._looking.pop(plain, None)
            return True
        # One looks for all. Having given up it stays, so that nobody waits for what is known to be down.
        looking = self._looking.get(plain)
        if looking is None:
            looking = self._looking[plain] = asyncio.create_task(self._look(plain))
        return await asyncio.shield(looking)

    async def _look(self, plain: bool) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while not self._reached(plain):
            if loop.time() >= until:
                return False
            await asyncio.sleep(_LOOK_EVERY)
        self._looking.pop(plain, None)
        return True

    def _reached(self, plain: bool) -> bool:
        streams = 0 if plain else getattr(self._channel, "streams_up", 0)
        return streams > 0 or self._channel.get_state(try_to_connect=True) in _DECIDED
