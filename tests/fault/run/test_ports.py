"""Where a run listens, and what it says when it cannot."""

from __future__ import annotations

import socket
from itertools import islice

import pytest

from fastcms_cli.config import BadStart
from fastcms_cli.ports import free_ports, listen

NEEDED = 11


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(BadStart, match=f"FASTCMS_PORT {port} is taken"):
            listen("127.0.0.1", port)
    listen("127.0.0.1", port).close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_of_this_machine_is_named(host: str) -> None:
    with pytest.raises(BadStart, match=f"FASTCMS_HOST {host}"):
        listen(host, 0)


def test_a_run_finds_the_same_ports_again() -> None:
    assert list(islice(free_ports(8000), NEEDED)) == list(islice(free_ports(8000), NEEDED))


def test_runs_on_neighbouring_ports_do_not_meet() -> None:
    first, second = (set(islice(free_ports(port), NEEDED)) for port in (8000, 8001))
    assert not first & second


def test_a_port_on_which_somebody_listens_is_passed_over() -> None:
    port = next(free_ports(8000))
    with socket.create_server(("127.0.0.1", port)):
        assert next(free_ports(8000)) != port
