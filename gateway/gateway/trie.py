"""The routing table: path templates in a trie, looked up without a regular expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class _Node(Generic[T]):
    __slots__ = ("children", "methods", "parameter")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.parameter: _Node[T] | None = None
        self.methods: dict[str, T] = {}


class Trie(Generic[T]):
    """Values by HTTP method and path template such as `/api/v1/users/{id}`.

    A fixed segment wins over a parameter; where it leads nowhere, the parameter is tried. A parameter is one segment
    that is not empty. HEAD finds what GET finds.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        # Templates without parameters need no walk.
        self._fixed: dict[str, Mapping[str, T]] = {}

    def add(self, method: str, template: str, value: T) -> None:
        """Raises ValueError where the template is not one, or where method and path are taken."""
        node = self._root
        fixed = True
        for segment in split_template(template):
            if segment is None:
                fixed = False
                if node.parameter is None:
                    node.parameter = _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        if method in node.methods:
            raise ValueError(f"{method} {template} is routed twice")
        node.methods[method] = value
        if method == "GET":
            node.methods.setdefault("HEAD", value)
        if fixed:
            self._fixed[template] = node.methods

    def find(self, method: str, path: str) -> tuple[T, Sequence[str]] | None:
        """The value for a request and the raw segments that its parameters matched, in order; None where none is."""
        methods = self._fixed.get(path)
        if methods is not None:
            value = methods.get(method)
            if value is not None:
                return value, ()
        matched: list[str] = []
        found = _walk(self._root, path.split("/"), 1, method, matched)
        if found is None:
            return None
        matched.reverse()
        return found.methods[method], matched

    def allowed(self, path: str) -> list[str]:
        """The methods that a path knows, sorted; empty for an unknown path."""
        methods: set[str] = set()
        _collect(self._root, path.split("/"), 1, methods)
        return sorted(methods)


def split_template(template: str) -> list[str | None]:
    """The segments of a template; None stands for a parameter. Raises ValueError for what is not supported."""
    if not template.startswith("/"):
        raise ValueError(f"{template} does not begin with a slash")
    segments: list[str | None] = []
    for segment in template[1:].split("/"):
        if segment.startswith("{") and segment.endswith("}") and segment[1:-1].isidentifier():
            segments.append(None)
        elif "{" in segment or "}" in segment or "*" in segment or ":" in segment:
            raise ValueError(f"{template}: only whole segments of the form {{field}} can be parameters")
        else:
            segments.append(segment)
    return segments


def parameters_of(template: str) -> list[str]:
    """The names of a template's parameters, in order."""
    return [segment[1:-1] for segment in template.split("/") if segment.startswith("{")]


def _walk(node: _Node[T], segments: list[str], index: int, method: str, matched: list[str]) -> _Node[T] | None:
    """The node at which `segments` end and `method` is known; `matched` gets the parameters, the last one first."""
    if index == len(segments):
        return node if method in node.methods else None
    segment = segments[index]
    child = node.children.get(segment)
    if child is not None:
        found = _walk(child, segments, index + 1, method, matched)
        if found is not None:
            return found
    if node.parameter is not None and segment:
        found = _walk(node.parameter, segments, index + 1, method, matched)
        if found is not None:
            matched.append(segment)
            return found
    return None


def _collect(node: _Node[T], segments: list[str], index: int, methods: set[str]) -> None:
    if index == len(segments):
        methods.update(node.methods)
        return
    segment = segments[index]
    child = node.children.get(segment)
    if child is not None:
        _collect(child, segments, index + 1, methods)
    if node.parameter is not None and segment:
        _collect(node.parameter, segments, index + 1, methods)
