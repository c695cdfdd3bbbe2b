"""The suite's public API, for commands that need no more than an admin has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from fastcms_cli.deployment import Deployment, Failed
from fastcms_cli.secrets_input import password

TOKEN = "FASTCMS_TOKEN"
# Seconds: to connect, and for each piece of an answer; a verification of a long log says nothing for a while.
TIMEOUT = httpx.Timeout(10.0, read=600.0, write=600.0)


@contextmanager
def signed_in(deployment: Deployment, url: str | None, email: str | None, file: Path | None) -> Iterator[httpx.Client]:
    """A client with an admin's token: that of FASTCMS_TOKEN, or that which signing in as `email` gives, and which
    signing out ends. Raises Failed, also for what the block's requests meet."""
    base_url = (url or deployment.base_url).rstrip("/")
    try:
        with httpx.Client(base_url=f"{base_url}/api/v1", timeout=TIMEOUT) as client:
            given = os.environ.get(TOKEN)
            if not given and email is None:
                raise Failed(f"who is asking? Set {TOKEN}, or name an admin with --email")
            client.headers["Authorization"] = f"Bearer {given or _sign_in(client, email, file)}"
            yield client
            if not given:
                client.post("/auth/logout")
    except httpx.HTTPError as error:
        raise Failed(f"{base_url} cannot be reached: {error}") from None
    except httpx.InvalidURL as error:
        raise Failed(f"{base_url} is not a URL: {error}") from None


def _sign_in(client: httpx.Client, email: str | None, file: Path | None) -> str:
    asked = {"email": email, "password": password(file, f"Password of {email}")}
    answer = client.post("/auth/login", json=asked)
    if answer.status_code == httpx.codes.UNAUTHORIZED and answer.json().get("code") == "MFA_REQUIRED":
        answer = client.post("/auth/login", json=asked | {"mfa_code": password(None, "Code of the second factor")})
    token: str = checked(answer).json()["access_token"]
    return token


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is a good one. Raises Failed with what the problem document says."""
    if answer.is_success:
        return answer
    answer.read()
    try:
        problem: dict[str, Any] = answer.json()
    except ValueError:
        raise Failed(f"{answer.url} answers {answer.status_code}, and not as FastCMS does") from None
    detail = problem.get("detail") or problem.get("title")
    fields = "".join(f"; {one['field']}: {one['message']}" for one in problem.get("errors") or ())
    raise Failed(f"{'; '.join(detail) if isinstance(detail, list) else detail}{fields} ({answer.status_code})")
