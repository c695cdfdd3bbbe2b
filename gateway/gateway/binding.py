"""From an HTTP request to the request message of an rpc: path, query, headers and body, compiled per route.

What is wrong with any of them is collected and told at once (422); what cannot be read at all is a 400.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes

from google.api.httpbody_pb2 import HttpBody
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from fastcms_common.errors import FieldError, Invalid, Malformed
from fastcms_common.validation import validate
from gateway import fields
from gateway.decoding import Errors, Filler, compile_filler, parse
from gateway.problems import Refused
from gateway.requests import Request
from gateway.routes import Route
from gateway.scalars import Reader, Wrong, text_reader

_JSON: Final = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
_MANY: Final = "Must be given once only."

TextSetter = Callable[[Message, str, str, Errors], None]
"""Writes the text of a parameter into a message; the second text is what to call it in an error."""
BodySetter = Callable[[Message, Request, bytes, Errors], None]


class Binding:
    """Makes the request messages of one route."""

    def __init__(self, route: Route, body_limit: int) -> None:
        request = route.rpc.input_type
        self._new: Callable[[], Message] = message_factory.GetMessageClass(request)
        self._path = [(name, _text_setter(request.fields_by_name[name])) for name in route.parameters]
        self._headers = [
            (field.name, header.lower().encode("ascii"), header, _text_setter(field))
            for field in request.fields
            if (header := fields.option(field).header)
        ]
        self._query = _query_setters(route)
        self._repeatable = {key for key, (field, _) in self._query.items() if field.is_repeated}
        self._query_map = route.rest.query_map
        self._body_limit = route.rest.max_body_bytes or body_limit
        self._set_body = _body_setter(route)

    async def message(self, request: Request, segments: Sequence[str]) -> Message:
        """The request message of a unary call. Raises Invalid, Malformed, Refused or ClientGone."""
        message = self._new()
        errors: Errors = []
        self._bind_head(message, request, segments, errors)
        body = await request.body(self._body_limit)
        self._set_body(message, request, body, errors)
        if errors:
            raise Invalid(_with_missing(message, errors))
        return message

    def head(self, request: Request, segments: Sequence[str]) -> Message:
        """The request message without its body, with which a stream begins. Raises Invalid or Malformed."""
        message = self._new()
        errors: Errors = []
        self._bind_head(message, request, segments, errors)
        if errors:
            raise Invalid(errors)
        return message

    def empty(self) -> Message:
        """A request message that holds nothing yet."""
        return self._new()

    def _bind_head(self, message: Message, request: Request, segments: Sequence[str], errors: Errors) -> None:
        for (name, set_text), segment in zip(self._path, segments, strict=True):
            set_text(message, _decoded(segment) if "%" in segment else segment, name, errors)
        for _, name_in_headers, header, set_text in self._headers:
            value = request.headers.get(name_in_headers)
            if value is not None:
                set_text(message, value.decode("latin-1"), header, errors)
        if request.query:
            self._bind_query(message, request.query, errors)

    def _bind_query(self, message: Message, query: bytes, errors: Errors) -> None:
        seen: set[str] = set()
        for name, value in query_pairs(query):
            if name in seen and name not in self._repeatable:
                errors.append(FieldError(name, _MANY))
                continue
            seen.add(name)
            known = self._query.get(name)
            if known is None and not self._query_map:
                errors.append(FieldError(name, "Is not a known query parameter."))
            elif "\0" in value:
                # No database takes it in a text, so nothing could be found by it.
                errors.append(FieldError(name, "Must not contain the NUL character."))
            elif known is not None:
                known[1](message, value, name, errors)
            else:
                getattr(message, self._query_map)[name] = value


def _with_missing(message: Message, errors: Errors) -> Errors:
    """The errors, and what the service would find wrong next: a client wants to hear of all at once."""
    try:
        validate(message)
    except Invalid as more:
        named = [error.field for error in errors]
        return [*errors, *(error for error in more.fields if not any(_within(one, error.field) for one in named))]
    return errors


def _within(path: str, parent: str) -> bool:
    return path == parent or path.startswith((f"{parent}.", f"{parent}["))


def query_pairs(query: bytes) -> list[tuple[str, str]]:
    """Names and values of a query string (WHATWG URL, 5.1), in order. Raises Malformed where they are not UTF-8."""
    pairs = []
    for part in query.decode("latin-1").split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((_decoded_plus(name), _decoded_plus(value)))
    return pairs


def query_fields(route: Route) -> dict[str, FieldDescriptor]:
    """The fields that query parameters fill, by the parameter's name.

    All single values and lists of them that neither path, header nor body takes; with the body "*" only those that say
    so (option `query`).
    """
    request = route.rpc.input_type
    taken = {*route.parameters, route.body, route.rest.query_map}
    found = {}
    for name, key in fields.json_names(request).items():
        field = request.fields_by_name[name]
        option = fields.option(field)
        if name in taken or option.header or option.path or fields.is_update_mask(field) or fields.is_map(field):
            continue
        if route.body == "*" and not option.query:
            continue
        if route.body == "*" and not field.has_presence:
            raise ValueError(f"{field.full_name}: only an optional field can be in body and query")
        if text_reader(field) is not None:
            found[key] = field
    return found


def body_excludes(route: Route) -> set[str]:
    """The fields of the request that a body of "*" must not name: those that have another place."""
    request = route.rpc.input_type
    masks = {field.name for field in request.fields if fields.is_update_mask(field)}
    elsewhere = {field.name for field in request.fields if fields.option(field).path}
    return {*route.parameters, *masks, *elsewhere, route.rest.query_map}


def _query_setters(route: Route) -> dict[str, tuple[FieldDescriptor, TextSetter]]:
    return {key: (field, _text_setter(field)) for key, field in query_fields(route).items()}


def _text_setter(field: FieldDescriptor) -> TextSetter:
    name = field.name
    read = cast(Reader, text_reader(field))

    def set_text(message: Message, text: str, label: str, errors: Errors) -> None:
        try:
            value = read(text)
        except Wrong as wrong:
            errors.append(FieldError(label, str(wrong)))
            return
        if field.is_repeated:
            getattr(message, name).append(value)
        elif field.message_type is not None:
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)

    return set_text


def _body_setter(route: Route) -> BodySetter:
    request = route.rpc.input_type
    if not route.body:
        return _set_nothing
    if route.body == "*":
        excluded = body_excludes(route)
        return _json_setter(request, compile_filler(request, excluded), _repeats(route), "")
    field = request.fields_by_name[route.body]
    if field.message_type is None or field.is_repeated or field.message_type.full_name in fields.SINGLE_VALUES:
        raise ValueError(f"{route.rpc.full_name}: the body has to be a message")
    if field.message_type.full_name == fields.HTTP_BODY:
        return _raw_setter(field.name, wants_json=bool(route.rest.body_schema))
    return _json_setter(field.message_type, compile_filler(field.message_type), {}, field.name, request)


def _repeats(route: Route) -> Mapping[str, str]:
    """Parameters that both query and body can give, by body key."""
    return {key: field.name for key, field in query_fields(route).items()} if route.body == "*" else {}


def _json_setter(
    target: Descriptor, fill: Filler, repeats: Mapping[str, str], part: str, request: Descriptor | None = None
) -> BodySetter:
    mask = next((field.name for field in (request or target).fields if fields.is_update_mask(field)), "")
    names = {key: name for name, key in fields.json_names(target).items()}

    def set_json(message: Message, http: Request, body: bytes, errors: Errors) -> None:
        if not body:
            return
        _require_json(http)
        value = parse(body)
        for key, name in repeats.items():
            if type(value) is dict and value.get(key) is not None and message.HasField(name):
                errors.append(FieldError(key, _MANY))
        goal: Any = getattr(message, part) if part else message
        fill(goal, value, body, "", errors)
        if mask and type(value) is dict:
            getattr(message, mask).paths.extend([names[key] for key in value if key in names])

    return set_json


def _raw_setter(name: str, *, wants_json: bool) -> BodySetter:
    def set_raw(message: Message, http: Request, body: bytes, errors: Errors) -> None:
        if body and wants_json:
            _require_json(http)
        part: HttpBody = getattr(message, name)
        part.data = body
        part.content_type = http.header(b"content-type") or ""

    return set_raw


def _set_nothing(message: Message, http: Request, body: bytes, errors: Errors) -> None:
    """A route that takes no body takes an empty object, which many clients send."""
    if not body:
        return
    _require_json(http)
    value = parse(body)
    if type(value) is not dict:
        errors.append(FieldError("body", "Must be empty."))
        return
    errors.extend(FieldError(key, "Is not a known field.") for key in value)


def _require_json(request: Request) -> None:
    content_type = request.headers.get(b"content-type", b"")
    if content_type not in _JSON and not _is_json(content_type):
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", "The body has to be application/json in UTF-8.")
    if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", "The body must not be compressed.")


def _is_json(content_type: bytes) -> bool:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    suffixed = media_type.startswith(b"application/") and media_type.endswith(b"+json")
    if media_type != b"application/json" and not suffixed:
        return False
    charsets = [part[8:].strip(b'"') for part in parameters if part.startswith(b"charset=")]
    return all(charset in (b"utf-8", b"utf8") for charset in charsets)


def _decoded_plus(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return _decoded(text) if "%" in text or not text.isascii() else text


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise Malformed("The address holds text that is not UTF-8.", reason="MALFORMED_URL") from None
