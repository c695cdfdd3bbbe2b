"""What protos say of their fields is enforced, all of it at once."""

from __future__ import annotations

import pytest

from fastcms.admin.v1 import admin_pb2
from fastcms.auth.v1 import auth_pb2
from fastcms.collections.v1 import collections_pb2
from fastcms_common.errors import Invalid
from fastcms_common.validation import validate


def problems(message) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        validate(message)
    return {field.field: field.message for field in caught.value.fields}


def test_nested_fields_are_named_by_their_path():
    fields = [{"name": "a", "type": "text"}, {"name": "b", "type": "colour"}, {"type": "text"}]
    request = collections_pb2.CreateCollectionRequest(
        name="n" * 64, type="none", schema={"fields": fields}, indexes=[{"name": "i"}]
    )
    assert set(problems(request)) == {
        "name",
        "type",
        "schema.fields[1].type",
        "schema.fields[2].name",
        "indexes[0].fields",
    }


@pytest.mark.parametrize("duration", [59, 86401, -1, 0, 2**31 - 1])
def test_bounds_hold_on_both_sides(duration: int):
    request = admin_pb2.ImpersonateUserRequest(user_id="u", duration=duration)
    assert problems(request) == {"duration": "Must be between 60 and 86400."}


def test_absent_optional_fields_are_fine():
    validate(admin_pb2.ImpersonateUserRequest(user_id="u"))
    validate(auth_pb2.RegisterRequest(email="e", password="p"))


def test_lengths_count_code_points():
    validate(auth_pb2.LoginRequest(email="😀" * 254, password="p"))
    assert problems(auth_pb2.LoginRequest(email="😀" * 255, password="p")) == {
        "email": "Must have at most 254 characters."
    }
