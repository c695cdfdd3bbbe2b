"""Nothing that a client sends stops the gateway: every request is bound to its message, or refused with a reason."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from fastcms_common.errors import DomainError
from gateway.binding import Binding
from gateway.problems import Refused, problem_of
from gateway.requests import Request
from gateway.routes import PACKAGES, Route, compile_routes, services_of
from gateway.trie import Trie
from tests.contract.gateway import made_up

ROUTES = compile_routes([*(service for package in PACKAGES for service in services_of(package)), made_up.service()])
BINDINGS = [(route, Binding(route, 1 << 20)) for route in ROUTES if not route.rpc.client_streaming]

words = st.text(max_size=12) | st.sampled_from(["", "true", "1", "-1", "1e9", "null", "NaN", "\x00", "'", "{}", "$ne"])
json_like = st.recursive(
    st.sampled_from(["null", "true", "1", "-0", "1.5", "1e400", "1" * 40, '""', '"a"', '"\\ud800"', "NaN", "[]", "{}"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    max_leaves=4,
)


def fields_of(route: Route) -> list[str]:
    return [field.name for field in route.rpc.input_type.fields] + ["data", "nothing"]


async def bound(binding: Binding, head: dict[str, Any], body: bytes, segments: list[str]) -> int:
    """The status with which a request is refused; 200 where it is not."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"method": "POST", "path": "/", "raw_path": b"/", **head}
    try:
        await binding.message(Request(scope, receive), segments)
    except (DomainError, Refused) as error:
        return problem_of(error, "r").status
    return 200


@settings(max_examples=300)
@given(st.data())
async def test_whatever_is_sent_is_bound_or_refused(data: st.DataObject):
    route, binding = data.draw(st.sampled_from(BINDINGS))
    names = st.sampled_from(fields_of(route))
    query = data.draw(st.lists(st.tuples(names | words, words), max_size=3))
    raw_query = data.draw(st.just(urlencode(query, errors="replace").encode()) | st.binary(max_size=20))
    parts = data.draw(st.lists(st.tuples(names, json_like), max_size=4))
    body = data.draw(
        st.just(("{" + ", ".join(f'"{name}": {value}' for name, value in parts) + "}").encode())
        | st.binary(max_size=30)
    )
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"if-match", data.draw(st.binary(max_size=10)))]
    segments = [quote(data.draw(words), errors="replace") or "x" for _ in route.parameters]
    status = await bound(binding, {"query_string": raw_query, "headers": headers}, body, segments)
    assert status in (200, 400, 415, 422)


segment = st.sampled_from(["a", "b", "{x}", "{y}"])
templates = st.lists(segment, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


def matches(template: str, path: str) -> bool:
    pattern, parts = template.split("/")[1:], path.split("/")[1:]
    return len(pattern) == len(parts) and all(
        part and (want.startswith("{") or want == part) for want, part in zip(pattern, parts, strict=True)
    )


@given(
    st.lists(st.tuples(st.sampled_from(["GET", "POST"]), templates), max_size=8),
    st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)),
)
def test_the_trie_finds_what_a_list_of_patterns_would(routes: list[tuple[str, str]], path: str):
    trie: Trie[str] = Trie()
    kept = []
    for method, template in routes:
        try:
            trie.add(method, template, template)
        except ValueError:
            continue
        kept.append((method, template))
    for method in ("GET", "POST"):
        candidates = [template for known, template in kept if known == method and matches(template, path)]
        found = trie.find(method, path)
        assert (found is not None) == bool(candidates)
        if found is not None:
            assert found[0] in candidates
            # The one with the first fixed segment furthest to the left.
            assert found[0] == min(
                candidates, key=lambda template: [part.startswith("{") for part in template.split("/")]
            )
    known = {method for method, template in kept if matches(template, path)}
    assert set(trie.allowed(path)) == known | ({"HEAD"} if "GET" in known else set())
