"""What a field is called in JSON and what its option says, read from the descriptors once."""

from __future__ import annotations

from functools import cache
from typing import Final

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from fastcms.common.v1 import options_pb2

HTTP_BODY: Final = "google.api.HttpBody"
FIELD_MASK: Final = "google.protobuf.FieldMask"
UPDATE_MASK: Final = "update_mask"
SINGLE_VALUES: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration", FIELD_MASK})
"""Messages that JSON writes as one string."""

# They would turn 1 into 1.0 and 2^53+1 into 2^53. A bytes field with the option `json` carries any JSON exactly.
_REFUSED: Final = frozenset(
    {"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Any"}
)


@cache
def json_names(message: Descriptor) -> dict[str, str]:
    """JSON key by field name: the field's own name, unless the proto says `json_name`.

    Raises ValueError where a field's type cannot be carried.
    """
    source = descriptor_pb2.DescriptorProto()
    message.CopyToProto(source)
    names = {field.name: field.json_name if field.HasField("json_name") else field.name for field in source.field}
    for field in message.fields:
        if field.message_type is not None and field.message_type.full_name in _REFUSED:
            raise ValueError(f"{field.full_name}: {field.message_type.full_name} is not carried; use bytes with json")
    return names


def option(field: FieldDescriptor) -> options_pb2.Field:
    """The `field` option, empty where there is none."""
    return field.GetOptions().Extensions[options_pb2.field]


def is_json(field: FieldDescriptor) -> bool:
    """Whether a bytes field holds JSON text."""
    return bool(option(field).json)


def message_of(field: FieldDescriptor) -> Descriptor:
    """The type of a message field. Raises TypeError where it holds something else."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is not a message")
    return field.message_type


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def is_update_mask(field: FieldDescriptor) -> bool:
    """Whether it is the mask that the gateway fills with the keys of the body."""
    return field.name == UPDATE_MASK and field.message_type is not None and field.message_type.full_name == FIELD_MASK


def list_field(message: Descriptor) -> str:
    """The repeated field that a bare list stands for (option `shorthand`), or an empty string."""
    return str(message.GetOptions().Extensions[options_pb2.shorthand].list_field)
