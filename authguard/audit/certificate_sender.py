"""Whether the server lets an app know who has sent a header with a client certificate."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from authguard.audit.findings import SENDER, Finding
from authguard.audit.workers import server_settings
from authguard.core.guard import Guard

_FIX = 'Let the proxy reach the app by a Unix socket, trusted=["unix:/run/app.sock"]'
_UVICORN_FIX = f"{_FIX}, or start uvicorn with --no-proxy-headers"


def about_certificate_senders(guard: Guard) -> tuple[Finding, ...]:
    """A finding for each scheme that believes a proxy by its address, where the server changes that address.

    Also for one whose ``trusted=`` cannot hold, because the server listens elsewhere, or does not tell where. To be
    called in the thread of the event loop.
    """
    sources = [(scheme.name, getattr(scheme, "client_certificate", None)) for scheme in guard.schemes]
    forwarded = [(name, source) for name, source in sources if hasattr(source, "sockets")]
    settings = [each for each in server_settings() if each[1] is not None] if forwarded else []
    return tuple(
        dict.fromkeys(
            Finding(SENDER, f"client_certificate of {name}", problem, "", fix)
            for name, source in forwarded
            for server, values in settings
            for problem, fix in _problems(server, values, source)
        )
    )


def _problems(server: str, settings: Any, source: Any) -> Iterator[tuple[str, str]]:
    if source.networks:
        yield from _about_addresses(server, settings)
        if server == "uvicorn":
            yield from _about_forwarded_fields(settings, source)
    if server == "uvicorn" and getattr(settings, "fd", None) is None and hasattr(settings, "uds"):
        yield from _about_socket(settings.uds, source)
    if (
        server == "hypercorn"
        and source.sockets - {""}
        and any(str(bind).startswith("unix:") for bind in getattr(settings, "bind", ()))
    ):
        problem = "hypercorn does not tell an app the path of its socket, so that no certificate is believed"
        yield problem, 'Write trusted=["unix:"], for any socket that it listens on'


def _about_addresses(server: str, settings: Any) -> Iterator[tuple[str, str]]:
    if server == "gunicorn" and getattr(settings, "proxy_protocol", False) not in {False, "off"}:
        yield "gunicorn takes the address of the client from the PROXY protocol, so that it is not the proxy's", _FIX


def _about_forwarded_fields(settings: Any, source: Any) -> Iterator[tuple[str, str]]:
    """Uvicorn puts the address in ``X-Forwarded-For`` in the place of the sender's, where it believes the sender."""
    if getattr(settings, "proxy_headers", False) is not True:
        return
    believed = getattr(settings, "forwarded_allow_ips", None) or ()
    names = believed.split(",") if isinstance(believed, str) else [str(name) for name in believed]
    names = [name.strip() for name in names]
    if "*" in names:
        problem = "uvicorn believes X-Forwarded-For of everybody, so that each client can choose its address"
        yield problem, _UVICORN_FIX
    elif common := _common(names, source.networks):
        yield f"uvicorn replaces the address {common} by that in X-Forwarded-For: then none is believed", _UVICORN_FIX


def _common(names: Iterable[str], networks: Iterable[Any]) -> str | None:
    for name in names:
        try:
            believed = ipaddress.ip_network(name)
        except ValueError:  # a name, for which uvicorn believes no address
            continue
        if any(believed.version == network.version and believed.overlaps(network) for network in networks):
            return name
    return None


def _about_socket(uds: object, source: Any) -> Iterator[tuple[str, str]]:
    if uds is None:
        if not source.networks:
            problem = "uvicorn listens on a port, and trusted= names Unix sockets alone: no certificate is believed"
            yield problem, "Start it with --uds, or name the address of the proxy"
    elif not source.sockets & {"", str(uds)}:
        problem = f"uvicorn listens on the Unix socket {uds}, which trusted= does not name: no certificate is believed"
        yield problem, f'Write trusted=["unix:{uds}"]'
