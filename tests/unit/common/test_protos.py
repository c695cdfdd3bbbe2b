"""Facts that hold for every rpc there is."""

from __future__ import annotations

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

from fastcms.common.v1 import options_pb2
from fastcms.common.v1.options_pb2 import Access
from fastcms_common.access import access_of
from tests.routes import rpcs


def methods() -> list[MethodDescriptor]:
    return [method for method, _ in rpcs()]


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.full_name)
def test_every_rpc_says_who_may_call_it(method: MethodDescriptor):
    access = access_of(method)
    routed = method.GetOptions().HasExtension(annotations_pb2.http)
    if access.caller == Access.CALLER_SERVICE:
        assert not routed, "what is for services only has no route"
    rest = method.GetOptions().Extensions[options_pb2.rest]
    if rest.account_field:
        pool = method.containing_service.file.pool
        whose = pool.FindMessageTypeByName(rest.body_schema) if rest.body_schema else method.input_type
        assert rest.account_field in whose.fields_by_name
    if rest.query_map:
        assert rest.query_map in method.input_type.fields_by_name


def test_a_door_without_a_lock_is_there_on_purpose():
    public = {
        method.full_name.removeprefix("fastcms.")
        for method in methods()
        if access_of(method).caller == Access.CALLER_PUBLIC
    }
    assert public <= PUBLIC


PUBLIC = {
    "admin.v1.AuditService.GetCheckpointKeys",
    "auth.v1.AuthService.GetSetup",
    "auth.v1.AuthService.Login",
    "auth.v1.AuthService.Refresh",
    "auth.v1.AuthService.RegisterMember",
    "auth.v1.CredentialsService.ConfirmEmailChange",
    "auth.v1.CredentialsService.ConfirmPasswordReset",
    "auth.v1.CredentialsService.ConfirmVerification",
    "auth.v1.CredentialsService.RequestOtp",
    "auth.v1.CredentialsService.RequestPasswordReset",
    "auth.v1.CredentialsService.RequestVerification",
    "auth.v1.CredentialsService.VerifyOtp",
    "auth.v1.KeysService.GetKeySet",
    "auth.v1.KeysService.IssueServiceToken",
    "auth.v1.OAuthService.AuthorizeOAuth",
    "auth.v1.OAuthService.CompleteOAuth",
    "auth.v1.OAuthService.ListOAuthOptions",
}
