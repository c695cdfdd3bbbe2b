"""What is sealed opens for its owner only."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from auth_service.config import read_master_keys
from auth_service.master_key import MasterKey

KEY = MasterKey(b"k" * 32)


def test_what_is_sealed_opens_for_its_owner():
    sealed = KEY.seal(b"secret", "me")
    assert KEY.unseal(sealed, "me") == b"secret"
    assert "secret" not in sealed
    assert KEY.seal(b"secret", "me") != sealed, "no two are alike"


def test_nobody_else_opens_it():
    sealed = KEY.seal(b"secret", "me")
    altered = base64.urlsafe_b64encode(bytes([*base64.urlsafe_b64decode(sealed)[:-1], 0])).decode()
    for key, owner, text in ((KEY, "you", sealed), (MasterKey(b"l" * 32), "me", sealed), (KEY, "me", altered)):
        with pytest.raises(ValueError, match="does not open"):
            key.unseal(text, owner)


def test_every_purpose_has_a_key_of_its_own_on_every_replica():
    assert KEY.derive("a") == MasterKey(b"k" * 32).derive("a")
    assert len({*KEY.derive("a"), *KEY.derive("b"), b"k" * 32}) == 3


def test_a_key_file_is_read_with_and_without_padding(tmp_path: Path):
    file = tmp_path / "key"
    for text in (base64.urlsafe_b64encode(b"\xfb" * 32), base64.urlsafe_b64encode(b"\xfb" * 32).rstrip(b"=") + b"\n"):
        file.write_bytes(text)
        assert read_master_keys(file) == [b"\xfb" * 32]


@pytest.mark.parametrize("content", [b"", b"short", base64.urlsafe_b64encode(b"x" * 31), b"\xff" * 43])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes):
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ValueError):
        read_master_keys(file)


def test_a_former_key_opens_and_never_seals():
    exchanging = MasterKey(b"n" * 32, b"k" * 32)
    sealed = KEY.seal(b"secret", "me")
    assert exchanging.unseal(sealed, "me") == b"secret"
    renewed = exchanging.renewed(sealed, "me")
    assert renewed is not None
    assert MasterKey(b"n" * 32).unseal(renewed, "me") == b"secret"
    assert exchanging.renewed(renewed, "me") is None
    with pytest.raises(ValueError, match="does not open"):
        KEY.unseal(exchanging.seal(b"new", "me"), "me")


def test_a_key_file_may_have_a_former_key_below(tmp_path: Path):
    file = tmp_path / "key"
    file.write_text("\n".join(base64.urlsafe_b64encode(key * 32).decode() for key in (b"n", b"k")))
    assert read_master_keys(file) == [b"n" * 32, b"k" * 32]
    for bad in ("", "c2hvcnQ"):
        file.write_text(bad)
        with pytest.raises(ValueError, match="not 32"):
            read_master_keys(file)
