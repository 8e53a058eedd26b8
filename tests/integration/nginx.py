"""An nginx in front of the servers of these tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.servers.app_server import TIMEOUT

# Debian does not put nginx on every user's path.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

_CONFIGURATION = """\
daemon off;
{user}
pid {home}/pid;
error_log stderr error;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    {shared}
{servers}
}}
"""


@contextmanager
def running_nginx(*servers: str, shared: str = "", tls: bool = False) -> Iterator[list[str]]:
    """The URL of each of these server blocks, which are given without braces. ``shared`` is put before them.
    With ``tls``, the blocks name a certificate and its key.

    nginx cannot choose a free port, so it inherits listening sockets, as it does from an nginx that it replaces.
    """
    assert NGINX is not None
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in servers]
        ports = [one.getsockname()[1] for one in sockets]
        blocks = [
            f"server {{ listen 127.0.0.1:{port}{' ssl' if tls else ''}; {one} }}"
            for port, one in zip(ports, servers, strict=True)
        ]
        configuration = _CONFIGURATION.format(
            # The workers of nginx write to a folder that other users cannot access.
            user="user root;" if os.geteuid() == 0 else "",
            home=home,
            shared=shared,
            servers="\n".join(blocks),
        )
        (Path(home) / "nginx.conf").write_text(configuration, "utf-8")
        numbers = [one.fileno() for one in sockets]
        process = subprocess.Popen(
            [NGINX, "-p", home, "-e", "stderr", "-c", f"{home}/nginx.conf"],
            env={**os.environ, "NGINX": "".join(f"{number};" for number in numbers)},
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        # From here on only nginx listens, so that a connection to an nginx that has ended is refused.
        for one in sockets:
            one.close()
        try:
            yield [f"{'https' if tls else 'http'}://127.0.0.1:{port}" for port in ports]
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, errors.decode()
        assert b"[error]" not in errors, errors.decode()
