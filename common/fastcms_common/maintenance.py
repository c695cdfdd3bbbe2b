"""What an operator has a service's code do to its data: `python -P -m <service>.maintenance <operation>`.

It works straight on storage and Redis, whether or not the suite is running, with the environment of the service. The
`fastcms` command is the caller: a JSON object comes in on standard input (secrets never stand on a command line), one
goes out on standard output. Exit code 2 and one line on standard error say what is wrong.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import orjson

from fastcms_common.context import RequestContext, bind
from fastcms_common.errors import DomainError, Invalid
from fastcms_common.ids import new_id
from fastcms_common.settings import ProcessSettings, load, stop

S = TypeVar("S", bound=ProcessSettings)
Answer: TypeAlias = dict[str, Any]
Operation: TypeAlias = Callable[[S, Mapping[str, Any]], Awaitable[Answer]]


def perform(kind: type[S], operations: Mapping[str, Operation[S]]) -> None:
    """Does what the command line names with what comes in, and writes the answer."""
    if len(sys.argv) != 2 or sys.argv[1] not in operations:
        stop(f"say what to do: {', '.join(operations)}")
    asked = orjson.loads(sys.stdin.buffer.read() or b"{}")
    answer = asyncio.run(_perform(operations[sys.argv[1]], load(kind), asked))
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")


async def _perform(operation: Operation[S], settings: S, asked: Mapping[str, Any]) -> Answer:
    try:
        with bind(RequestContext(request_id=new_id(), user_agent="fastcms on the command line")):
            return await operation(settings, asked)
    except Invalid as error:
        stop("; ".join(f"{one.field}: {one.message}" for one in error.fields))
    except DomainError as error:
        stop(error.detail)
    except (OSError, ValueError) as error:
        stop(str(error))
