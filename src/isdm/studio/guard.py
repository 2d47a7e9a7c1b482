"""Who may talk to the studio: the page itself, from this machine, or with the token.

On loopback, requests must name a loopback host: another site cannot reach the studio under a name of its own (DNS
rebinding). Elsewhere the token is needed, once in the address, then in a cookie. What changes something must come
from the studio's own page.
"""

import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "isdm-studio"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses strangers and adds the headers that keep the page to itself.

    Args:
        app: what is guarded.
        token: needed from everybody; None on loopback.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | RedirectResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname
        if self._token is None and name not in LOOPBACK_NAMES:
            return _no(f"The studio answers on this machine only, not as {host!r}; start it with --host to open it.")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return _no("Another site's page may not use the studio; open its own address.")
        if scope["method"] not in ("GET", "HEAD") and origin is None and headers.get("x-isdm-studio") is None:
            return _no("Only the studio's own page may change something; a script sends the header X-Isdm-Studio.")
        return None if self._token is None else self._without_token(scope, headers, self._token)

    def _without_token(self, scope: Scope, headers: Headers, token: str) -> JSONResponse | RedirectResponse | None:
        if self._is_token(cookie_parser(headers.get("cookie", "")).get(COOKIE)):
            return None
        if scope["path"] == "/" and self._is_token(QueryParams(scope["query_string"]).get("token")):
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=7 * 86400)
            return answer
        return _no("This studio needs its token: open the address that it printed when it was started.")

    def _is_token(self, given: str | None) -> bool:
        assert self._token is not None
        return given is not None and secrets.compare_digest(given.encode(), self._token.encode())


def _no(reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, status_code=403)
