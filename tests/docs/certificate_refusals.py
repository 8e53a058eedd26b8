"""Refusals of client certificates for ``docs/reasons.md``, as in ``tests/docs/refusals.py``."""

from __future__ import annotations

from typing import Any

from authguard import Record
from authguard.wire.dpop_proof import base64url
from tests.docs.refusals import Site, bearer, refused, token
from tests.schemes.mutual_tls.site import STRANGER, forwarded

#: A certificate of a client, in base64. It is the same in each run, so that its hash on the page is, too.
CERTIFICATE = (
    "MIHLMH+gAwIBAgIBATAFBgMrZXAwEDEOMAwGA1UEAwwFYmF0Y2gwHhcNMjYwMTAxMDAwMDAwWhcNMjcwMTAxMDAwMDAwWjAQMQ4w"
    "DAYDVQQDDAViYXRjaDAqMAUGAytlcAMhAEfSdyzQq6tq4OdAZzu009t4xpIataM+STI51jnU+LIVMAUGAytlcANBAJzBm/lwSPSb"
    "ddP08WzTeQGCrs5gaEwWiK80Wyn123sYY5/PGrnualogQnjWt2iJpaWNf2j8YohViwkIKZaspQc="
)
FIELD = (b"client-cert", f":{CERTIFICATE}:".encode())


async def sent(*lines: tuple[bytes, bytes], **scope: Any) -> Record:
    """The record of a request of the proxy with these fields, and a token that is bound to another certificate."""
    bound = token(cnf={"x5t#S256": base64url(bytes(32))})
    site = Site(bearer(client_certificate=forwarded()))
    return await site.send(bound, lines=lines, **{"client": ("10.0.0.7", 40000), **scope})


@refused("certificate.missing")
async def no_certificate() -> Record:
    """A bound token, and no certificate."""
    return await sent()


@refused("certificate.mismatch")
async def other_certificate() -> Record:
    """The token of one client with the certificate of another."""
    return await sent(FIELD)


@refused("certificate.invalid")
async def two_certificates() -> Record:
    """A proxy that adds its header to that of the client."""
    return await sent(FIELD, FIELD)


@refused("certificate.sender_refused")
async def past_the_proxy() -> Record:
    """Somebody who reaches the app directly."""
    return await sent(FIELD, client=STRANGER)


@refused("certificate.sender_refused")
async def rewritten() -> Record:
    """A server that takes the address from a forwarded field."""
    return await sent(FIELD, client=("203.0.113.9", 0))
