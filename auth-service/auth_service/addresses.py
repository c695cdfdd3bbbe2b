"""E-mail addresses: which are good, and which are one and the same."""

from __future__ import annotations

import unicodedata
from email.utils import parseaddr

import email_validator

from fastcms_common.errors import Invalid

# Self-hosted installations do have mail under .local (RFC 6762 keeps the name from the public DNS, not from them).
_REFUSED_NAMES = [name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name != "local"]
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = _REFUSED_NAMES
# How an encoded word begins (RFC 2047, section 2).
_ENCODED_WORD = "=?"


def parse(text: str, field: str = "email") -> str:
    """The address in its usual form (RFC 5321 and 6531; no DNS is asked). Invalid naming `field` where it is none."""
    if _ENCODED_WORD in text:
        # RFC 2047, section 5: never in an address. Mail software decodes it all the same, and writes to another one.
        raise Invalid.field(field, "is not a valid e-mail address: It must not contain an encoded word ('=?').")
    try:
        answer = email_validator.validate_email(text.strip(), check_deliverability=False, test_environment=True)
        return answer.normalized
    except email_validator.EmailNotValidError as problem:
        raise Invalid.field(field, f"is not a valid e-mail address: {problem}") from None


def mailable(text: str) -> str:
    """The form in which a mail is addressed: with the domain in ASCII, which every server takes, unless what stands
    before it needs RFC 6531 anyway. Invalid."""
    parsed = email_validator.validate_email(parse(text), check_deliverability=False, test_environment=True)
    return parsed.ascii_email or parsed.normalized


def sender(text: str) -> str:
    """`text`, an address that may have a name before it, with the address as `mailable` gives it. Invalid."""
    _, address = parseaddr(text)
    return text if address.isascii() else text.replace(address, mailable(address))


def key(text: str) -> str:
    """What stands for an address in its realm: two addresses of one key are the same person's.

    Works on anything a caller may send, so that signing in with what is no address at all takes the usual way.
    """
    try:
        text = parse(text)
    except Invalid:
        # Storage knows no NUL, and nobody's address holds one.
        text = text.strip().replace("\0", "\ufffd")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
