"""Rules under real servers: what is protected is never served to the wrong client, however it is asked for.

Both of uvicorn's parsers, with and without ``--root-path``, in front of the three apps of ``apps.rules``.
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

#: A closed folder with an open corner, and an open one with a closed corner.
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
    """One server, and how its three apps are asked."""

    def __init__(self, server: AppServer, root_path: str) -> None:
        self.server = server
        # Without --root-path, two of the apps have one of their own: that is what a proxy in front would leave on.
        self.prefixes = {name: "" if root_path or name == "starlette" else "/api" for name in VARIANTS}

    def ask(
        self, variant: str, target: str | bytes, *fields: str, method: str = "GET", host: str = "app.example"
    ) -> Answer:
        return self.server.send(request_bytes(target, f"X-Variant: {variant}", *fields, method=method, host=host))

    def ask_all(self, target: str | bytes, *fields: str, method: str = "GET") -> dict[str, Answer]:
        """The answers of all three, each asked below its own prefix."""
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


def tells(answer: Answer) -> set[str]:
    """Whose bodies stand in an answer."""
    return {text for text in (FOR_ALL, FOR_USERS, FOR_ADMINS) if answer.contains(text)}


@pytest.mark.parametrize(("path", "holds"), PLAIN.items(), ids=PLAIN)
def test_a_plain_path_serves_its_body_to_whom_it_is_for(served: Served, path: str, holds: str) -> None:
    """Each client gets by the plain path what is for it, and nothing else."""
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
        told = {variant: (answer.status, tells(answer)) for variant, answer in answers[name].items()}
        assert told == dict.fromkeys(VARIANTS, (status, {holds} if status == 200 else set())), name


@pytest.mark.parametrize(("target", "statuses"), TARGETS, ids=[ascii(row[0])[:40] for row in TARGETS])
def test_a_strange_target_is_answered_as_it_should_be(served: Served, target: str | bytes, statuses: set[int]) -> None:
    """A target is answered by one of its statuses, and never with a body that is not for everybody."""
    answers = served.ask_all(target)

    assert {name: answer.status for name, answer in answers.items() if answer.status not in statuses} == {}
    assert {name for name, answer in answers.items() if tells(answer) - {FOR_ALL}} == set()


@pytest.mark.parametrize(("method", "target", "statuses"), METHODS, ids=[f"{row[0]!a} {row[1]}" for row in METHODS])
def test_a_strange_method_is_answered_as_it_should_be(
    served: Served, method: str, target: str, statuses: set[int]
) -> None:
    """A method is answered by one of its statuses: no spelling of one passes for another."""
    answers = served.ask_all(target, method=method)

    assert {name: answer.status for name, answer in answers.items() if answer.status not in statuses} == {}
    assert {name for name, answer in answers.items() if tells(answer) - {FOR_ALL}} == set()


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: fields[0])
def test_no_field_makes_a_protected_path_public(served: Served, fields: tuple[str, ...]) -> None:
    """The path, the method and the user are read from no field that a client could send."""
    answers = {}
    for variant, prefix in served.prefixes.items():
        if fields[0].startswith("Host: "):
            answers[variant] = served.ask(variant, prefix + "/admin", host=fields[0].removeprefix("Host: "))
        else:
            answers[variant] = served.ask(variant, prefix + "/admin", *fields)

    assert {name: answer.status for name, answer in answers.items() if answer.status not in REFUSED} == {}
    assert {name for name, answer in answers.items() if tells(answer)} == set()


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_no_disguise_of_a_path_serves_what_the_path_does_not(served: Served, disguise: Disguise) -> None:
    """However a path is written: nobody gets what is for users, and a user does not get what is for admins."""
    bob = bearer_field(app_token("bob", "user"))
    told = {}

    for path, as_bob in GOALS.items():
        target, fields = disguise(path), [bob] if as_bob else []
        kept = {FOR_ADMINS} if as_bob else {FOR_ADMINS, FOR_USERS}
        for variant, prefix in {(name, prefix) for name, own in served.prefixes.items() for prefix in ("", own)}:
            answer = served.ask(variant, prefix + target if target.startswith("/") else target, *fields)
            if tells(answer) & kept or not answer.statuses or max(answer.statuses) >= 500:
                told[variant, prefix + target] = answer.raw

    assert told == {}


@pytest.mark.parametrize("target", ["/apihealth", "/apifiles/a", "/api.", "/ap/health", "/api/apihealth", "/api"])
def test_a_root_path_is_taken_off_whole_segments_alone(served: Served, target: str) -> None:
    """What merely begins like the root path is no path below it, for the guard as for the router."""
    answers = {name: served.ask(name, target) for name in VARIANTS}

    assert {name: answer.status for name, answer in answers.items() if answer.status not in REFUSED} == {}


@pytest.mark.parametrize("target", ["/shelf/kept", "/shelf/shelf/kept", "/api/shelf/kept", "/api/shelf/shelf/kept"])
def test_what_a_mount_reads_anew_is_not_served(served: Served, target: str) -> None:
    """A mount that finds no root path before its own reads the whole path: ``/shelf/kept`` as ``/{name}/kept``."""
    answers = {name: served.ask(name, target) for name in VARIANTS}

    assert {name for name, answer in answers.items() if tells(answer)} == set()
    assert {name: answer.status for name, answer in answers.items() if answer.status not in REFUSED | {404}} == {}


def test_each_request_of_a_connection_is_judged_by_itself(served: Served) -> None:
    """A token, or a public path, serves its own request and not the next one on the connection."""
    alice = bearer_field(app_token("alice", "admin"))
    keep = b"Connection: keep-alive"
    requests = [request_bytes("/admin", alice), request_bytes("/admin"), request_bytes("/health"), request_bytes("/me")]
    kept = [octets.replace(b"Connection: close", keep) for octets in requests[:-1]]

    answer = served.server.send(b"".join([*kept, requests[-1]]))

    assert answer.statuses == [200, 401, 200, 401]
    assert answer.raw.count(FOR_ADMINS.encode()) == 1
