"""The REST routes, read from the protos: what tests that try every endpoint go by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

from fastcms.common.v1 import options_pb2

PROTOS = Path(__file__).parents[1] / "protos"
VERBS = ("get", "post", "patch", "put", "delete")


@dataclass(frozen=True)
class Route:
    """One verb and path, and the rpc behind it. `body` is "", "*" or the field that takes the body."""

    verb: str
    template: str
    body: str
    method: MethodDescriptor

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(re.findall(r"{(\w+)}", self.template))

    @property
    def access(self) -> options_pb2.Access:
        return self.method.GetOptions().Extensions[options_pb2.access]

    @property
    def rest(self) -> options_pb2.Rest:
        return self.method.GetOptions().Extensions[options_pb2.rest]

    @property
    def streams(self) -> bool:
        return bool(self.method.client_streaming or self.method.server_streaming)

    def filled(self, value: str = "nobody", **values: str) -> str:
        """The path with each parameter replaced: by its own of `values`, else by `value`."""

        def fill(match: re.Match[str]) -> str:
            return quote(values.get(match[1], value), safe="%")

        return re.sub(r"{(\w+)}", fill, self.template)

    def __str__(self) -> str:
        return f"{self.verb} {self.template}"


@lru_cache(maxsize=1)
def rpcs() -> tuple[tuple[MethodDescriptor, options_pb2.Access], ...]:
    """Every rpc of every service, with or without a route, and who may call it."""
    return tuple(
        (method, method.GetOptions().Extensions[options_pb2.access])
        for path in sorted(PROTOS.glob("fastcms/**/*.proto"))
        for service in _module(path).DESCRIPTOR.services_by_name.values()
        for method in service.methods_by_name.values()
    )


@lru_cache(maxsize=1)
def routes() -> tuple[Route, ...]:
    """Every route of every rpc."""
    return tuple(route for method, _ in rpcs() for route in _routes_of(method))


def _module(path: Path) -> Any:
    return import_module(".".join(path.relative_to(PROTOS).with_suffix("").parts) + "_pb2")


def _routes_of(method: MethodDescriptor) -> list[Route]:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    return [
        Route(verb.upper(), template, binding.body, method)
        for binding in (rule, *rule.additional_bindings)
        for verb in VERBS
        if (template := getattr(binding, verb))
    ]
