"""An app with the inspector at /inspector/, for people with a password; everything else needs a token.

Serve it with ``make serve``, or with the public key of your own issuer and your own files:

htpasswd -B -c users.htpasswd alice
echo "admin: alice" > users.groups
ISSUER_PUBLIC_KEY="$(cat public.pem)" USER_FILE=users.htpasswd GROUP_FILE=users.groups \
    uvicorn examples.inspector:app
"""

from __future__ import annotations

import logging
import os

from fastapi import FastAPI

from authguard import PEM, PUBLIC, Basic, Bearer, Guard, HtpasswdFile, Issuer, Rule, all_of, role, via
from authguard.fastapi import CurrentPrincipal, install
from authguard.inspector import inspector

logging.basicConfig()
logging.getLogger("authguard").setLevel(os.environ.get("LOG_LEVEL", "INFO"))

issuer = Issuer(
    "https://login.example/",
    audience="orders",
    algorithms=["RS256"],
    keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]),
)
people = HtpasswdFile(os.environ["USER_FILE"], groups=os.environ["GROUP_FILE"])

# Browsers ask for a password by themselves, so Basic is how a person opens the page. It opens nothing else.
guard = Guard(
    Bearer(issuer, realm="orders"),
    Basic(people, realm="inspector"),
    rules=[
        Rule("/health", PUBLIC),
        Rule("/inspector/**", via("basic")),
        Rule("/admin/**", all_of(role("admin"), via("bearer"))),
        Rule("/**", via("bearer")),
    ],
)

app = FastAPI(title="orders", docs_url=None, redoc_url=None, openapi_url=None)
install(app, guard)
app.mount("/inspector", inspector(guard, all_of(role("admin"), via("basic"))))


@app.get("/health")
def health() -> dict[str, str]:
    """Public, by its rule."""
    return {"status": "up"}


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    """For everybody with a token."""
    return {"orders of": principal.subject}


@app.get("/admin/users")
def users(principal: CurrentPrincipal) -> dict[str, str]:
    """For users with the role admin, by the rule."""
    return {"asked by": principal.subject}
