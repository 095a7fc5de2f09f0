"""Protection of the live page: which requests are answered, and the headers of every answer."""

from __future__ import annotations

import hmac

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ngpd_fl.watch.address import PageAddress

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content policy: nothing is loaded from elsewhere, and no script or style counts that is not a file of the package."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class AccessMiddleware:
    """Answers only requests to read that name this server and its token, if any, and that no other page sent."""

    def __init__(self, app: ASGIApp, address: PageAddress) -> None:
        """Stand before an application that is served at an address."""
        self._app, self._address = app, address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, without the token in its path, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, with_headers)
            return
        if token := self._address.token:
            scope = {**scope, "path": scope["path"][1 + len(token) :]}
        await self._app(scope, receive, with_headers)

    def _is_foreign(self, scope: Scope) -> bool:
        """Return whether a page of somebody else asks, in the browser of this one's reader; a link may lead here."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        if origin is not None and not self._address.accepts(origin.partition("://")[2]):
            return True
        is_link = headers.get(b"sec-fetch-mode") == "navigate"
        return headers.get(b"sec-fetch-site") in ("cross-site", "same-site") and not is_link

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._address.accepts(hosts[0].decode("latin-1")):
            return PlainTextResponse("This is not a name of this server.\n", 403)
        if self._is_foreign(scope):
            return PlainTextResponse("This page is not for other pages to use.\n", 403)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("This page can only be read.\n", 405, {"Allow": "GET, HEAD"})
        if token := self._address.token:
            given = scope["path"][1 : 1 + len(token)].encode("utf-8", "surrogateescape")
            is_whole = scope["path"][1 + len(token) :][:1] == "/"
            if not (hmac.compare_digest(given, token.encode()) and is_whole):
                return PlainTextResponse("Open the whole address that the command printed.\n", 404)
        return None
