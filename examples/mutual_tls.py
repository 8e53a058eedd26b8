"""Tokens that are bound to a TLS certificate of the client (RFC 8705), behind a proxy that ends TLS.

The proxy asks clients for a certificate, and passes it on over a Unix socket that only it can open. nginx:

    ssl_verify_client optional;
    proxy_pass http://unix:/run/app.sock;
    proxy_set_header X-Client-Cert $ssl_client_escaped_cert;

ISSUER_PUBLIC_KEY="$(cat public.pem)" APP_SOCKET=/run/app.sock uvicorn examples.mutual_tls:app --uds /run/app.sock
"""

from __future__ import annotations

import os

from fastapi import FastAPI

from authguard import PEM, Bearer, ForwardedCertificate, Guard, Issuer
from authguard.fastapi import CurrentPrincipal, install

issuer = Issuer(
    "https://login.example/", audience="orders", algorithms=["RS256"], keys=PEM(os.environ["ISSUER_PUBLIC_KEY"])
)
bearer = Bearer(
    issuer,
    realm="orders",
    # Who reaches the app in another way could write the header, and is refused.
    client_certificate=ForwardedCertificate(
        "X-Client-Cert", format="pem", trusted=[f"unix:{os.environ['APP_SOCKET']}"]
    ),
    # A token for everybody is refused, too.
    require_bound=True,
)

app = FastAPI(title="orders")
install(app, Guard(bearer))


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    """For tokens that come with the certificate that they are bound to."""
    return {"orders of": principal.subject}
