"""Many unary calls on one gRPC stream.

A grpc.aio call costs more than most answers do. So each client keeps one long-lived stream to each address of a
service; the calls that begin in one turn of the event loop leave as one frame, and answers come back as they finish,
those of one turn as one frame. To whoever calls or is called nothing changes: same stubs, same handlers, same errors.

    client.py             the channel that stubs take, and where a call goes: on a stream, or as a plain gRPC call
    lanes.py              one stream to each address, opened again whenever it is lost
    streams.py, calls.py  a stream and its calls, as the client sees them
    server.py, serving.py a stream and its calls, as the server sees them
    frames.py             what is on the wire

Decisions and numbers: docs/adr/0008-multiplexed-channel.md.
"""
