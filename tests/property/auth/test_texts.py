"""Over any text: what is sent in never breaks what reads it, and what belongs together stays together."""

from __future__ import annotations

import json
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTPUTF8

from hypothesis import example, given
from hypothesis import strategies as st

from auth_service import addresses
from auth_service.auth_settings import AuthSettings
from auth_service.bodies import Body
from auth_service.password_policy import broken_rules
from auth_service.refresh_tokens import RefreshTokens
from fastcms_common.errors import Invalid, Malformed, Unauthenticated
from fastcms_common.ids import new_id
from fastcms_common.storage.values import check_text

TOKENS = RefreshTokens(b"k" * 32)
texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=200)


@given(texts)
def test_any_text_has_a_key_that_storage_takes_and_that_is_its_own(text: str):
    key = addresses.key(text)
    check_text(key, "email")
    with suppress(Invalid):
        parsed = addresses.parse(text)
        assert addresses.key(parsed) == key
        assert addresses.key(parsed.upper()) == addresses.key(parsed.upper().lower())


@given(st.text(alphabet="azAZ09=?_!#%&'*+-/^`{|}~.@ü<>,;: ", max_size=30))
@example("=?utf-8?q?mallory=40evil.example=3e?=")
@example("=?utf-8?b?bWFsbG9yeUBldmlsLmV4YW1wbGU?=")
def test_a_mail_goes_to_the_address_it_is_written_to_and_no_other(local_part: str):
    with suppress(Invalid):
        parsed = addresses.parse(f"{local_part}@example.com")
        message = EmailMessage(policy=SMTPUTF8)
        message["To"] = parsed
        assert [one.addr_spec for one in message["To"].addresses] == [parsed]


@given(texts, texts)
def test_judging_a_password_never_fails(password: str, email: str):
    strict = AuthSettings(
        password_require_upper=True,
        password_require_lower=True,
        password_require_number=True,
        password_require_special=True,
    )
    sentences = broken_rules(password, email, strict)
    assert len(set(sentences)) == len(sentences)


@given(st.integers(1, 40))
def test_a_chain_of_refresh_tokens_never_repeats_and_is_always_recognised(length: int):
    token = TOKENS.first(new_id())
    seen = {token.text}
    for generation in range(2, length + 2):
        following = TOKENS.successors(token)[0]
        assert TOKENS.successors(token)[0] == following, "the same for whoever computes it"
        assert TOKENS.parse(following.text) == following
        assert following.generation == generation
        assert following.session_id == token.session_id
        seen.add(following.text)
        token = following
    assert len(seen) == length + 1


@given(texts)
def test_made_up_refresh_tokens_are_refused(text: str):
    with suppress(Unauthenticated):
        TOKENS.parse(text)
        raise AssertionError("accepted")


@given(st.integers(0, 90), st.sampled_from("ABCxyz019-_"))
def test_an_altered_refresh_token_is_refused(position: int, character: str):
    text = TOKENS.first(new_id()).text
    altered = text[:position] + character + text[position + 1 :]
    if altered != text:
        with suppress(Unauthenticated):
            TOKENS.parse(altered)
            raise AssertionError("accepted")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(texts.filter(lambda name: name not in ("email", "password")), json_values, max_size=6))
def test_what_is_not_taken_from_a_body_is_passed_on_as_it_was(fields: dict[str, object]):
    sent = fields | {"email": "a@example.com", "password": "x"}
    body = Body(json.dumps(sent).encode())
    assert (body.take_text("email", 254), body.take_text("password", 4096)) == ("a@example.com", "x")
    assert json.loads(body.rest()) == fields


@given(st.binary(max_size=300))
def test_any_bytes_are_an_object_or_malformed(data: bytes):
    with suppress(Malformed, Invalid):
        body = Body(data)
        body.take_text("email", 10)
        body.rest()
