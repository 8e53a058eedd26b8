"""What the probe says of real servers: each line of ``golden/``.

Apache, nginx, lighttpd, Starlette, FastAPI and Flask-HTTPAuth are set up as their documentation shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from authguard.probe.exchange import Target
from authguard.probe.refusal_probe import probe_refusal
from tests.integration.nginx import NGINX, running_nginx
from tests.probe.apps import AUTHGUARD, FASTAPI, FLASK, STARLETTE, STARLETTE_CORS
from tests.probe.servers import home, program, running_apache, running_lighttpd, serving_asgi, serving_wsgi

pytestmark = pytest.mark.peer
GOLDEN = Path(__file__).with_name("golden")

# alice, wonderland
BASIC_USERS = "alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"
DIGEST_USERS = "alice:cameras:cf7d90b1a2a2a42ae4ef0f97bd4bd6b0\n"


def said(url: str, origin: str | None = None) -> str:
    """What is printed, without what changes from run to run."""
    text = str(probe_refusal(Target(url), origin=origin))
    text = re.sub(r"http://127\.0\.0\.1:\d+", "http://server", text)
    return re.sub(r'(nonce|opaque)="[^"]*(?:"|\.\.\.)', r'\1="..."', text) + "\n"


def check(name: str, *texts: str) -> None:
    """Compare with the file of this name."""
    assert "\n".join(texts) == (GOLDEN / f"{name}.txt").read_text("utf-8")


@pytest.fixture(name="folder")
def _folder() -> Iterator[Path]:
    with home() as folder:
        (folder / "users").write_text(BASIC_USERS)
        (folder / "digests").write_text(DIGEST_USERS)
        yield folder


_APACHE = """
<Location /basic>
    AuthType Basic
    AuthName "orders"
    AuthUserFile {folder}/users
    Require valid-user
</Location>
<Location /digest>
    AuthType Digest
    AuthName "cameras"
    AuthUserFile {folder}/digests
    Require valid-user
</Location>
<Location /denied>
    Require all denied
</Location>
"""


@pytest.mark.skipif(program("apache2") is None, reason="apache2 is not here")
def test_apache(folder: Path) -> None:
    """Basic without a charset, Digest with MD5 alone, and a 403 for everybody."""
    with running_apache(folder, _APACHE) as url:
        check("apache", *(said(f"{url}/{path}") for path in ("basic", "digest", "denied")))


_NGINX = """
location /basic {{ auth_basic orders; auth_basic_user_file {folder}/users; }}
location /denied {{ return 403; }}
location /joined {{ return 401; add_header WWW-Authenticate 'Basic realm="orders", Bearer realm="orders"' always; }}
location /unquoted {{ return 401; add_header WWW-Authenticate 'Basic realm=Restricted Area' always; }}
location /bare {{ return 401; }}
location /login {{ return 302 http://$host/login?next=$uri; }}
location /cached {{ auth_basic orders; auth_basic_user_file {folder}/users;
    add_header Cache-Control 'max-age=60' always; }}
"""


@pytest.mark.skipif(NGINX is None, reason="nginx is not here")
def test_nginx(folder: Path) -> None:
    """Basic without a charset, a 403, and what configurations make: joined, unquoted, missing, redirected, cached."""
    with running_nginx(_NGINX.format(folder=folder)) as (url,):
        paths = "basic", "denied", "joined", "unquoted", "bare", "login", "cached"
        check("nginx", *(said(f"{url}/{path}") for path in paths))


_LIGHTTPD = """
auth.backend = "htpasswd"
auth.backend.htpasswd.userfile = "{folder}/users"
auth.require = ("/basic" => ("method" => "basic", "realm" => "orders", "require" => "valid-user"))
$HTTP["url"] =~ "^/digest" {{
    auth.backend = "htdigest"
    auth.backend.htdigest.userfile = "{folder}/digests"
    auth.require = ("/digest" => ("method" => "digest", "realm" => "cameras", "require" => "valid-user"))
}}
$HTTP["url"] =~ "^/denied" {{ url.access-deny = ("") }}
""".replace("{{", "{").replace("}}", "}")


@pytest.mark.skipif(program("lighttpd") is None, reason="lighttpd is not here")
def test_lighttpd(folder: Path) -> None:
    """Basic, Digest and a 403."""
    with running_lighttpd(folder, _LIGHTTPD) as url:
        check("lighttpd", *(said(f"{url}/{path}") for path in ("basic", "digest", "denied")))


def test_starlette() -> None:
    """``requires`` refuses those who have not logged in with a 403, and a bad token is a 400."""
    with serving_asgi(STARLETTE) as url, serving_asgi(STARLETTE_CORS) as cors:
        check("starlette", said(f"{url}/"), said(f"{cors}/", "https://app.example"))


def test_fastapi() -> None:
    """Challenges without a realm or any parameter, and any token is let in where nobody verifies it."""
    with serving_asgi(FASTAPI) as url:
        check("fastapi", *(said(f"{url}/{path}") for path in ("basic", "bearer", "digest", "oauth2", "key")))


def test_flask_httpauth() -> None:
    """A Digest whose algorithm is in quotes, a refused token without an error, and quotes in a realm that break it."""
    with serving_wsgi(FLASK) as url:
        check("flask_httpauth", *(said(f"{url}/{path}") for path in ("basic", "digest", "token", "quoted")))


def test_authguard() -> None:
    """Neither a fault nor a warning."""
    with serving_asgi(AUTHGUARD) as url:
        check("authguard", said(f"{url}/", "https://app.example"))
