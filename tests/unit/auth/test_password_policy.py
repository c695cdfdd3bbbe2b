"""What a password has to be like, in the words of the seed."""

from __future__ import annotations

import msgspec
import pytest

from auth_service.auth_settings import AuthSettings
from auth_service.password_policy import broken_rules, check, common_passwords
from fastcms_common.errors import Invalid

EMAIL = "John.Smith@Example.com"


def broken(password: str, email: str = EMAIL, **settings: object) -> list[str]:
    return broken_rules(password, email, msgspec.structs.replace(AuthSettings(), **settings))


def test_all_the_rules_that_are_broken_are_told_in_the_order_of_the_seed():
    strict = {
        "password_require_upper": True,
        "password_require_lower": True,
        "password_require_number": True,
        "password_require_special": True,
    }
    assert broken("", **strict) == [
        "Password must be at least 8 characters",
        "Password must contain at least one uppercase letter",
        "Password must contain at least one lowercase letter",
        "Password must contain at least one digit",
        "Password must contain at least one special character",
    ]
    assert broken("Grüne-Äpfel7", **strict) == []


@pytest.mark.parametrize(
    ("password", "length"), [("é" * 8, 8), ("e\u0301" * 8, 8), ("🦊" * 8, 8), ("ﷺ", 18), ("𝟙𝟡𝟟q", 4)]
)
def test_length_is_counted_in_code_points_of_the_normal_form(password: str, length: int):
    assert broken(password, password_min_length=length) == []
    assert broken(password, password_min_length=length + 1) == [f"Password must be at least {length + 1} characters"]
    assert broken(password, password_min_length=1, password_max_length=length) == []
    assert broken(password, password_min_length=1, password_max_length=length - 1) == [
        f"Password must be at most {length - 1} characters"
    ]


@pytest.mark.parametrize("password", ["ＡＢＣ def", "ÄÖÜ abcd", "ΑΒΓ abcd"])
def test_upper_case_is_that_of_any_script(password: str):
    assert broken(password, password_min_length=1, password_require_upper=True) == []


@pytest.mark.parametrize(("password", "good"), [("abc٣", True), ("abc²", True), ("abcⅧ", False), ("abc½", True)])
def test_digits_are_those_of_the_normal_form(password: str, good: bool):
    rules = broken(password, password_min_length=1, password_require_number=True)
    assert (rules == []) is good


@pytest.mark.parametrize("password", ["password", "PassWord", "QWERTY123", "ｐａｓｓｗｏｒｄ"])
def test_the_passwords_that_everyone_tries_first_are_refused(password: str):
    assert broken(password, password_min_length=1) == ["Password is too common"]
    assert broken(password, password_min_length=1, password_block_common=False) == []


def test_the_list_is_whole():
    assert len(common_passwords()) > 19_000


@pytest.mark.parametrize(
    "password", ["john.smith@example.com", "JOHN.SMITH", "Example.com", "my john.smith@example.com!"]
)
def test_the_address_and_its_parts_are_refused(password: str):
    assert broken(password) == ["Password must not be the e-mail address or a part of it"]


@pytest.mark.parametrize("password", ["john.smith-1984-river", "smithereens of john"])
def test_what_merely_holds_a_name_is_good(password: str):
    assert broken(password) == []


def test_the_error_names_the_field_once_for_each_sentence():
    with pytest.raises(Invalid) as refused:
        check("abq", EMAIL, AuthSettings(password_require_number=True), field="new_password")
    assert refused.value.reason == "PASSWORD_POLICY"
    assert [one.field for one in refused.value.fields] == ["new_password", "new_password"]
