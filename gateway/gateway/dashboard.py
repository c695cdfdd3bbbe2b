"""The dashboard at `/admin`: its files, and a session that scripts in the page cannot carry away.

The refresh token is in a cookie that no script can read (OWASP, "JWT for Java", token sidejacking), sent to
`/admin/session` only; the page holds the access token, in memory. The routes below are the public ones of
auth-service, with that cookie in place of the token in the body: they are counted, limited and refused as those are.

Other sites cannot use the cookie: it is SameSite=Strict, every route here takes JSON only, which no form can send, and
looks at where the request comes from (OWASP, "Cross-Site Request Forgery Prevention").
"""

from __future__ import annotations

from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

import orjson

from fastcms_common.errors import DomainError, Unauthenticated
from gateway.answers import JSON, Answer, Header, StreamedAnswer
from gateway.dashboard_assets import Asset, Assets
from gateway.dispatcher import Dispatcher, Endpoint
from gateway.problems import Refused, not_found, problem_of
from gateway.requests import Message, Request

COOKIE: Final = "fastcms_dashboard"
# Sent to these routes and nowhere else. How long the token in it is good for is auth-service's to say.
_COOKIE_PATH: Final = "/admin/session"
_COOKIE_SECONDS: Final = 365 * 24 * 3600
_BODY_LIMIT: Final = 16 * 1024

_POLICY: Final[Header] = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'",
)
_VARY: Final[Header] = (b"vary", b"accept-encoding")
_KEEP: Final[Header] = (b"cache-control", b"public, max-age=31536000, immutable")
_ASK_AGAIN: Final[Header] = (b"cache-control", b"no-cache")
_DO_NOT_STORE: Final[Header] = (b"cache-control", b"no-store")

_PAGES: Final = (
    "/admin", "/admin/", "/admin/{a}", "/admin/{a}/{b}", "/admin/{a}/{b}/{c}",
    # Where the links in mails lead, unless APP_URL names an application that has pages of its own for them.
    "/reset-password", "/verify-email", "/confirm-email-change",
)  # fmt: skip
# The last part of a route here, and the route of auth-service that it stands for.
_SIGN_INS: Final = {"login": "/api/v1/auth/login", "setup": "/api/v1/auth/register"}
_REFRESH: Final = "/api/v1/auth/refresh"
_LOGOUT: Final = "/api/v1/auth/logout"


def add_dashboard(dispatcher: Dispatcher, app_url: str) -> None:
    """Adds the routes of the dashboard. `app_url` is where people find the gateway, should a proxy rename it."""
    assets = Assets()
    for template in _PAGES:
        dispatcher.add("GET", PageEndpoint(template, assets))
    for template in ("/admin/assets/{version}/{a}", "/admin/assets/{version}/{a}/{b}"):
        dispatcher.add("GET", AssetEndpoint(template, assets))
    origin = _origin_of(app_url)
    for name, template in _SIGN_INS.items():
        if (inner := dispatcher.find("POST", template)) is not None:
            dispatcher.add("POST", SignInEndpoint(f"{_COOKIE_PATH}/{name}", inner, origin))
    if (inner := dispatcher.find("POST", _REFRESH)) is not None:
        dispatcher.add("POST", RefreshEndpoint(f"{_COOKIE_PATH}/refresh", inner, origin))
    if (inner := dispatcher.find("POST", _LOGOUT)) is not None:
        dispatcher.add("POST", LogoutEndpoint(f"{_COOKIE_PATH}/logout", inner, origin))


class PageEndpoint:
    """GET of any address of the dashboard, or one that a mail names: the page, which looks at the address itself."""

    def __init__(self, template: str, assets: Assets) -> None:
        self.template = template
        self._assets = assets

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer | StreamedAnswer:
        self._assets.refresh()
        return _file(request, self._assets.page, (_ASK_AGAIN, _POLICY))


class AssetEndpoint:
    """GET of a script, a style or a picture. One of another version than today's is not to be kept."""

    def __init__(self, template: str, assets: Assets) -> None:
        self.template = template
        self._assets = assets

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer | StreamedAnswer:
        version, *path = segments
        asset = self._assets.find("/".join(path))
        if asset is None:
            raise not_found()
        return _file(request, asset, (_KEEP if version == self._assets.version else _ASK_AGAIN, _POLICY))


class _SessionEndpoint:
    """What the routes with the cookie have in common. `inner` is the route of auth-service that each stands for."""

    def __init__(self, template: str, inner: Endpoint, origin: str) -> None:
        self.template = template
        self._inner = inner
        self._origin = origin

    async def _ask(self, request: Request, body: bytes | None = None) -> Answer:
        """The answer of the inner route, to the request as it is or to one with another body."""
        if body is not None:
            await request.body(_BODY_LIMIT)
            _replace_body(request, body)
        answer = await self._inner.answer(request, ())
        if not isinstance(answer, Answer):
            raise TypeError(f"{self._inner.template} streams")
        return answer

    def _check_origin(self, request: Request) -> None:
        """Raises Refused where the request is not from a page of this gateway."""
        content_type = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if content_type != JSON:
            raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", "The body has to be application/json in UTF-8.")
        site = request.header(b"sec-fetch-site")
        if site is not None:
            own = site == "same-origin"
        else:
            # Browsers send it with every POST; those old enough to send no Sec-Fetch-Site are judged by it.
            origin = request.header(b"origin") or ""
            own = origin == self._origin or origin.partition("://")[2] == (request.header(b"host") or "-")
        if not own:
            raise Refused(403, "FOREIGN_ORIGIN", "This is for pages of the dashboard only.")


class SignInEndpoint(_SessionEndpoint):
    """POST /admin/session/login, and /setup for the first admin: as auth-service's, the refresh token in the cookie."""

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer | StreamedAnswer:
        self._check_origin(request)
        return _with_cookie(request, await self._ask(request))


class RefreshEndpoint(_SessionEndpoint):
    """POST /admin/session/refresh: a new access token, and the next refresh token in the cookie."""

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer | StreamedAnswer:
        self._check_origin(request)
        token = _cookie(request)
        try:
            if token is None:
                raise Unauthenticated("Nobody is signed in here.", reason="NOT_SIGNED_IN")
            return _with_cookie(request, await self._ask(request, orjson.dumps({"refresh_token": token})))
        except Unauthenticated as error:
            return _forgetting(request, problem_of(error, request.id))


class LogoutEndpoint(_SessionEndpoint):
    """POST /admin/session/logout, with the access token: the session ends and the cookie goes, whatever was left."""

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer | StreamedAnswer:
        self._check_origin(request)
        token = _cookie(request)
        try:
            answer = await self._ask(request, orjson.dumps({"refresh_token": token} if token else {}))
        except DomainError as error:
            # Only a token that is dead already leaves nothing to end.
            if not isinstance(error, Unauthenticated):
                raise
            answer = Answer(204, headers=(_DO_NOT_STORE,))
        return _forgetting(request, answer)


def _file(request: Request, asset: Asset, headers: Sequence[Header]) -> Answer:
    headers = (*headers, (b"etag", asset.tag), _VARY)
    if asset.tag in request.headers.get(b"if-none-match", b""):
        return Answer(304, headers=headers)
    if b"gzip" in request.headers.get(b"accept-encoding", b""):
        return Answer(200, asset.compressed, asset.content_type, (*headers, (b"content-encoding", b"gzip")))
    return Answer(200, asset.body, asset.content_type, headers)


def _replace_body(request: Request, body: bytes) -> None:
    """Lets the request have another body than it came with, which has been read."""
    rest = request.receive
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return pending.pop() if pending else await rest()

    request.receive = receive
    request.headers = {**request.headers, b"content-length": str(len(body)).encode(), b"content-type": JSON}
    request.headers.pop(b"transfer-encoding", None)


def _with_cookie(request: Request, answer: Answer) -> Answer:
    """A login answer, its refresh token moved from the body to the cookie."""
    content = orjson.loads(answer.body)
    token = content.pop("refresh_token")
    cookie = _set_cookie(request, token, _COOKIE_SECONDS)
    return Answer(answer.status, orjson.dumps(content), JSON, (*answer.headers, cookie))


def _forgetting(request: Request, answer: Answer) -> Answer:
    """The same answer, without the cookie from now on."""
    answer.headers = (*answer.headers, _set_cookie(request, "", 0))
    return answer


def _set_cookie(request: Request, value: str, seconds: int) -> Header:
    text = f"{COOKIE}={value}; Path={_COOKIE_PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict"
    # The browser's own word for how it came here, whatever proxies are in between.
    if (request.header(b"origin") or "").startswith("https://"):
        text += "; Secure"
    return b"set-cookie", text.encode("ascii")


def _cookie(request: Request) -> str | None:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(request.header(b"cookie") or "")
    except CookieError:
        return None
    morsel = jar.get(COOKIE)
    return morsel.value if morsel is not None and morsel.value else None


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
