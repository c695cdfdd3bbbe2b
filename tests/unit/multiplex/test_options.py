"""Options of the two ends that have to agree."""

from __future__ import annotations

from fastcms_common.channels import OPTIONS
from fastcms_common.multiplex import frames
from fastcms_common.serving import SERVER_OPTIONS


def test_a_server_lets_its_clients_ping_an_idle_stream_as_often_as_they_do():
    """gRPC's own limit is a ping in five minutes; a client that pings more often loses the stream after a minute."""
    every = dict(OPTIONS)["grpc.keepalive_time_ms"]
    assert dict(SERVER_OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"] <= every / 2


def test_a_frame_fits_into_a_message():
    largest = frames.FRAME + frames.PART + 256 * 1024
    assert dict(OPTIONS)["grpc.max_receive_message_length"] > 2 * largest
