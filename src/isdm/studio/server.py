"""Opening the studio's port and serving the page."""

import contextlib
import ipaddress
import secrets
import socket

import uvicorn

from isdm.errors import ConfigError
from isdm.progress import say
from isdm.signals import StopRequestedError
from isdm.studio.app import make_app
from isdm.studio.bench import Bench


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(bench: Bench, host: str, port: int) -> None:
    """Serve the studio until it is interrupted; port 0 takes any that is free.

    Raises:
        ConfigError: the address cannot be opened.
    """
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    app = make_app(bench, token)
    opened = open_socket(host, port)
    say(f"Studio: {address(host, opened.getsockname()[1], token)}  (Ctrl+C ends it)")
    if token is not None:
        say("It can be reached from other machines by whoever has this address; the connection is not encrypted.")
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    with contextlib.suppress(StopRequestedError):  # uvicorn has ended in order and passes the signal on
        uvicorn.Server(config).run(sockets=[opened])
    say("The studio has ended; what was painted and judged is saved.")


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: the port is taken, or the host is none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--host {host} --port {port} cannot be opened ({getattr(error, 'strerror', None) or error}); give "
            f"another --port, or 0 for any free one."
        ) from None


def address(host: str, port: int, token: str | None) -> str:
    """The address to open in a browser."""
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + ("" if token is None else f"?token={token}")
