"""Rules under real servers: a protected body is never served to the wrong client, however it is requested.

Both of uvicorn's parsers, with and without ``--root-path``, serve the three apps of ``apps.rules``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import pytest

from tests.integration.apps.common import FOR_ADMINS, FOR_ALL, FOR_USERS, TREE
from tests.integration.attack_requests import DISGUISES, FIELDS, GOALS, METHODS, PLAIN, REFUSED, TARGETS, Disguise
from tests.support.servers.app_server import Answer, AppServer, app_token, bearer_field, request_bytes, running_servers

pytestmark = pytest.mark.peer

VARIANTS = ("starlette", "fastapi-inside", "fastapi-outside")
KINDS = list(product(("h11", "httptools"), ("", "/api")))

#: A protected folder with a public part, and a public folder with a protected part.
FILES = {
    "static/ok.txt": FOR_ALL,
    "closed/secret.txt": FOR_USERS,
    "closed/open/ok.txt": FOR_ALL,
    "site/ok.txt": FOR_ALL,
    "site/index.html": FOR_ALL,
    "site/private/secret.txt": FOR_ADMINS,
    "site/private/index.html": FOR_ADMINS,
}


class Served:
    """One server, with the prefixes of its three apps."""

    def __init__(self, server: AppServer, root_path: str) -> None:
        self.server = server
        # Without --root-path, two of the apps have a root path of their own, which a proxy would not remove.
        self.prefixes = {name: "" if root_path or name == "starlette" else "/api" for name in VARIANTS}

    def ask(
        self, variant: str, target: str | bytes, *fields: str, method: str = "GET", host: str = "app.example"
    ) -> Answer:
        return self.server.send(request_bytes(target, f"X-Variant: {variant}", *fields, method=method, host=host))

    def ask_all(self, target: str | bytes, *fields: str, method: str = "GET") -> dict[str, Answer]:
        """The answers of all three apps, each below its own prefix."""
        raw = target if isinstance(target, bytes) else target.encode("latin-1")
        return {
            name: self.ask(name, prefix.encode() + raw if raw.startswith(b"/") else raw, *fields, method=method)
            for name, prefix in self.prefixes.items()
        }


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Served]]:
    """A server of each kind."""
    folder = tmp_path_factory.mktemp("tree")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    starts = [
        partial(AppServer, "rules:app", "--http", http, "--root-path", root, "--lifespan", "off", **{TREE: str(folder)})
        for http, root in KINDS
    ]
    with running_servers(*starts) as started:
        yield {kind: Served(server, kind[1]) for kind, server in zip(KINDS, started, strict=True)}


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(filter(None, kind)).replace("/", "below-"))
def served(request: pytest.FixtureRequest, servers: dict[tuple[str, str], Served]) -> Served:
    """Each server in turn."""
    return servers[request.param]


def bodies_in(answer: Answer) -> set[str]:
    """Which of the bodies occur in an answer."""
    return {text for text in (FOR_ALL, FOR_USERS, FOR_ADMINS) if answer.contains(text)}


@pytest.mark.parametrize(("path", "holds"), PLAIN.items(), ids=PLAIN)
def test_a_plain_path_serves_the_right_clients(served: Served, path: str, holds: str) -> None:
    """By its plain path each client gets the bodies that it may read, and no other."""
    clients: dict[str, list[str]] = {
        "nobody": [],
        "bob": [bearer_field(app_token("bob", "user"))],
        "alice": [bearer_field(app_token("alice", "admin"))],
    }
    expected = {
        FOR_ALL: {"nobody": 200, "bob": 200, "alice": 200},
        FOR_USERS: {"nobody": 401, "bob": 200, "alice": 200},
        FOR_ADMINS: {"nobody": 401, "bob": 403, "alice": 200},
    }[holds]

    answers = {name: served.ask_all(path, *fields) for name, fields in clients.items()}

    for name, status in expected.items():
        told = {variant: (answer.status, bodies_in(answer)) for variant, answer in answers[name].items()}
        assert told == dict.fromkeys(VARIANTS, (status, {holds} if status == 200 else set())), name


@pytest.mark.parametrize(("target", "statuses"), TARGETS, ids=[ascii(row[0])[:40] for row in TARGETS])
def test_a_strange_target_is_answered_as_it_should_be(served: Served, target: str | bytes, statuses: set[int]) -> None:
    """Each target has one of its expected statuses, and never a protected body."""
    answers = served.ask_all(target)

    assert {name: answer.status for name, answer in answers.items() if answer.status not in statuses} == {}
    assert {name for name, answer in answers.items() if bodies_in(answer) - {FOR_ALL}} == set()


@pytest.mark.parametrize(("method", "target", "statuses"), METHODS, ids=[f"{row[0]!a} {row[1]}" for row in METHODS])
def test_a_strange_method_is_answered_as_it_should_be(
    served: Served, method: str, target: str, statuses: set[int]
) -> None:
    """Each method has one of its expected statuses: no spelling counts as another method."""
    answers = served.ask_all(target, method=method)

    assert {name: answer.status for name, answer in answers.items() if answer.status not in statuses} == {}
    assert {name for name, answer in answers.items() if bodies_in(answer) - {FOR_ALL}} == set()


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: fields[0])
def test_no_field_makes_a_protected_path_public(served: Served, fields: tuple[str, ...]) -> None:
    """No field of the client changes the path, the method or the user."""
    answers = {}
    for variant, prefix in served.prefixes.items():
        if fields[0].startswith("Host: "):
            answers[variant] = served.ask(variant, prefix + "/admin", host=fields[0].removeprefix("Host: "))
        else:
            answers[variant] = served.ask(variant, prefix + "/admin", *fields)

    assert {name: answer.status for name, answer in answers.items() if answer.status not in REFUSED} == {}
    assert {name for name, answer in answers.items() if bodies_in(answer)} == set()


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_no_disguise_of_a_path_serves_what_the_path_does_not(served: Served, disguise: Disguise) -> None:
    """However a path is written, anonymous clients do not get users' bodies, and users do not get admins' bodies."""
    bob = bearer_field(app_token("bob", "user"))
    told = {}

    for path, as_bob in GOALS.items():
        target, fields = disguise(path), [bob] if as_bob else []
        kept = {FOR_ADMINS} if as_bob else {FOR_ADMINS, FOR_USERS}
        for variant, prefix in {(name, prefix) for name, own in served.prefixes.items() for prefix in ("", own)}:
            answer = served.ask(variant, prefix + target if target.startswith("/") else target, *fields)
            if bodies_in(answer) & kept or not answer.statuses or max(answer.statuses) >= 500:
                told[variant, prefix + target] = answer.raw

    assert told == {}


@pytest.mark.parametrize("target", ["/apihealth", "/apifiles/a", "/api.", "/ap/health", "/api/apihealth", "/api"])
def test_a_root_path_is_removed_only_as_whole_segments(served: Served, target: str) -> None:
    """A path that only begins with the characters of the root path is not below it, for the guard and the router."""
    answers = {name: served.ask(name, target) for name in VARIANTS}

    assert {name: answer.status for name, answer in answers.items() if answer.status not in REFUSED} == {}


@pytest.mark.parametrize("target", ["/shelf/kept", "/shelf/shelf/kept", "/api/shelf/kept", "/api/shelf/shelf/kept"])
def test_a_path_that_a_mount_parses_again_is_not_served(served: Served, target: str) -> None:
    """A mount that finds no root path parses the whole path: ``/shelf/kept`` as ``/{name}/kept``."""
    answers = {name: served.ask(name, target) for name in VARIANTS}

    assert {name for name, answer in answers.items() if bodies_in(answer)} == set()
    assert {name: answer.status for name, answer in answers.items() if answer.status not in REFUSED | {404}} == {}


def test_each_request_of_a_connection_is_decided_by_itself(served: Served) -> None:
    """A token, or a public path, does not carry over to the next request on the connection."""
    alice = bearer_field(app_token("alice", "admin"))
    keep = b"Connection: keep-alive"
    requests = [request_bytes("/admin", alice), request_bytes("/admin"), request_bytes("/health"), request_bytes("/me")]
    kept = [data.replace(b"Connection: close", keep) for data in requests[:-1]]

    answer = served.server.send(b"".join([*kept, requests[-1]]))

    assert answer.statuses == [200, 401, 200, 401]
    assert answer.raw.count(FOR_ADMINS.encode()) == 1
