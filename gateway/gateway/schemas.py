"""JSON Schemas of messages, as OpenAPI 3.1 (JSON Schema 2020-12) has them, from descriptors and comments."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway import fields
from gateway.comments import comments_of

Schema = dict[str, Any]

_INTEGER_FORMATS: Final = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_SINT32: "int32",
    FieldDescriptor.TYPE_SFIXED32: "int32",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_FIXED32: "uint32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_SINT64: "int64",
    FieldDescriptor.TYPE_SFIXED64: "int64",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_FIXED64: "uint64",
}
_WELL_KNOWN: Final[dict[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
}


class Schemas:
    """The schemas that a document refers to. Answers are to be described before bodies: where a message is both, the
    body's schema, in which fields may be left out, gets a name of its own."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._answers: dict[str, str] = {}
        self._bodies: dict[tuple[str, frozenset[str]], str] = {}

    def answer(self, message: Descriptor) -> Schema:
        """A reference to what an answer of this type looks like: every field is there."""
        name = self._answers.get(message.full_name)
        if name is None:
            name = self._answers[message.full_name] = self._free_name(short_name(message))
            # In its place before its fields are described: a message may hold itself.
            self.components[name] = {}
            properties = {
                key: self.field(message.fields_by_name[field], of_answer=True)
                for field, key in fields.json_names(message).items()
            }
            self.components[name].update(_object(message, properties, list(properties)))
        return {"$ref": f"#/components/schemas/{name}"}

    def body(self, message: Descriptor, excluded: Collection[str] = ()) -> Schema:
        """A reference to what a body of this type has to look like, without the fields in `excluded`."""
        known = (message.full_name, frozenset(excluded) & set(message.fields_by_name))
        name = self._bodies.get(known)
        if name is None:
            plain = short_name(message)
            name = f"{plain}Input" if message.full_name in self._answers else plain
            name = self._bodies[known] = self._free_name(name)
            self.components[name] = {}
            self.components[name].update(self._body(message, excluded))
        return {"$ref": f"#/components/schemas/{name}"}

    def _body(self, message: Descriptor, excluded: Collection[str]) -> Schema:
        properties: dict[str, Schema] = {}
        required = []
        for name, key in fields.json_names(message).items():
            field = message.fields_by_name[name]
            if name in excluded or fields.option(field).header:
                continue
            properties[key] = self.field(field, of_answer=False)
            if is_required(field):
                required.append(key)
        schema = _object(message, properties, required)
        schema["additionalProperties"] = False
        list_field = fields.list_field(message)
        if list_field:
            bare = {key: value for key, value in properties[list_field].items() if key != "description"}
            return {"anyOf": [schema, bare], "description": schema.pop("description", "")}
        return schema

    def field(self, field: FieldDescriptor, *, of_answer: bool) -> Schema:
        """The schema of one field with its description."""
        if fields.is_map(field):
            value = fields.message_of(field).fields_by_name["value"]
            schema: Schema = {"type": "object", "additionalProperties": self._value(value, of_answer)}
        else:
            schema = self._value(field, of_answer)
            option = fields.option(field)
            if field.is_repeated:
                schema = {"type": "array", "items": schema}
                if option.max_length:
                    schema["maxItems"] = option.max_length
            elif field.has_presence and (of_answer or not is_required(field)):
                schema = _or_null(schema)
        comment = comment_of(field)
        if comment:
            schema["description"] = comment
        return schema

    def _value(self, field: FieldDescriptor, of_answer: bool) -> Schema:
        """The schema of a single value of a field."""
        option = fields.option(field)
        if field.message_type is not None:
            known = _WELL_KNOWN.get(field.message_type.full_name)
            if known is not None:
                return dict(known)
            return self.answer(field.message_type) if of_answer else self.body(field.message_type)
        if option.json:
            return self.named(option.schema, of_answer=of_answer) if option.schema else {}
        schema = _scalar(field)
        if option.max_item_length or (option.max_length and not field.is_repeated):
            schema["maxLength"] = option.max_item_length or option.max_length
        if option.HasField("minimum"):
            schema["minimum"] = option.minimum
        if option.HasField("maximum"):
            schema["maximum"] = option.maximum
        if option.values:
            schema["enum"] = list(option.values)
        if option.secret and not of_answer:
            schema["format"] = "password"
        return schema

    def named(self, full_name: str, *, of_answer: bool) -> Schema:
        """A reference to a message by its full name. Raises KeyError where there is none."""
        message = descriptor_pool.Default().FindMessageTypeByName(full_name)
        return self.answer(message) if of_answer else self.body(message)

    def _free_name(self, name: str) -> str:
        free, number = name, 1
        while free in self.components:
            number += 1
            free = f"{name}{number}"
        return free


def short_name(message: Descriptor) -> str:
    """`auth.User` for fastcms.auth.v1.User."""
    package = message.file.package.split(".")
    if package[0] == "fastcms":
        package = package[1:]
    if package and package[-1][:1] == "v" and package[-1][1:2].isdigit():
        package = package[:-1]
    return ".".join([*package, message.full_name.removeprefix(f"{message.file.package}.")])


def comment_of(thing: Any) -> str:
    """The comment of a message, field, service or rpc as running text; empty where there is none."""
    owner = getattr(thing, "containing_service", None) or thing
    return comments_of(owner.file.name).get(thing.full_name, "")


def is_required(field: FieldDescriptor) -> bool:
    """Whether its proto says REQUIRED."""
    return field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def _scalar(field: FieldDescriptor) -> Schema:
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.type in _INTEGER_FORMATS:
        return {"type": "integer", "format": _INTEGER_FORMATS[field.type]}
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"type": "boolean"}
    if field.type == FieldDescriptor.TYPE_STRING:
        return {"type": "string"}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return {"type": "number", "format": "double" if field.type == FieldDescriptor.TYPE_DOUBLE else "float"}


def _or_null(schema: Schema) -> Schema:
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]} if schema else {}
    nullable = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _object(message: Descriptor, properties: dict[str, Schema], required: list[str]) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    comment = comment_of(message)
    if comment:
        schema["description"] = comment
    return schema
