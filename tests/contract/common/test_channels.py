"""Channels to other services, on real sockets."""

from __future__ import annotations

import asyncio

from fastcms_common.channels import open_raw_channel


async def test_channels_to_one_address_share_no_connection() -> None:
    """gRPC shares them unless it is told otherwise, and crashes when both ask for the health of the server at once."""
    ends: list[tuple[str, int]] = []
    both = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # HTTP/2 settings of a server that has nothing to say, so that it counts as connected.
        writer.write(b"\0\0\0\4\0\0\0\0\0")
        ends.append(writer.get_extra_info("peername"))
        if len(ends) == 2:
            both.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1") as listener:
        port = listener.sockets[0].getsockname()[1]
        channels = [open_raw_channel(f"127.0.0.1:{port}", multiplex=False) for _ in range(2)]
        for channel in channels:
            channel.get_state(try_to_connect=True)
        async with asyncio.timeout(20):
            await both.wait()
        for channel in channels:
            await channel.close()
    assert len(set(ends)) == 2
