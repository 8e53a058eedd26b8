"""``authguard apikey``: keys in a file and in a database, and what an audit finds."""

from __future__ import annotations

import json
import re
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from rich.console import Console
from starlette.testclient import TestClient

from authguard import ApiKey, ApiKeyFile, AuthGuardMiddleware, Guard, SqlApiKeys, StoredKey
from authguard.accounts.api_key import key_digest
from authguard.accounts.api_key_file import ApiKeyFileAdmin, write_keys
from authguard.cli import key_store
from authguard.cli.key_report import CODES, KeyPolicy, find_findings
from tests.cli.programs import at_a_terminal, run, start
from tests.support.clock import NOW
from tests.support.schemes.api_key import KEY_ID, key_text, stored_key

CREATE = ("create", "alice", "ci", "--prefix", "acme", "--environment", "live")
DAY = 86_400
KEY = re.compile(r"acme_live_([0-9A-Za-z]{12})_[0-9A-Za-z]{33}\n")


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no store in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(key_store.VARIABLE, raising=False)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app reads the files of these tests, so a command in this process does not wait for one."""
    monkeypatch.setattr(key_store, "READ_AFTER", 0.0)


@pytest.fixture(name="store", params=["file", "sqlite", pytest.param("postgres", marks=pytest.mark.peer)])
def _store(request: pytest.FixtureRequest, folder: Path) -> str:
    """An empty store: the argument ``--store``. A database has its table."""
    if request.param == "file":
        return "keys.json"
    url: str = "sqlite+aiosqlite:///keys.db" if request.param == "sqlite" else request.getfixturevalue("postgres")

    async def prepare() -> None:
        keys = SqlApiKeys(url)
        await keys.create_table()
        async with keys._engines.begin() as connection:
            await connection.execute(keys._statements.table.delete())

    anyio.run(prepare)
    return url


def admin_of(store: str) -> Any:
    """What lists and changes the keys of a store."""
    return SqlApiKeys(store) if "://" in store else ApiKeyFileAdmin(store)


def keys_in(store: str) -> list[StoredKey]:
    """The keys of a store, the oldest first."""
    return list(anyio.run(admin_of(store).keys))


def put(store: str, *keys: StoredKey) -> None:
    """Store these keys."""
    for key in keys:
        anyio.run(admin_of(store).add, key)


def client_of(store: str, **options: Any) -> TestClient:
    """A client of an app whose keys are in this store."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    keys = SqlApiKeys(store) if "://" in store else ApiKeyFile(store)
    guard = Guard(ApiKey(keys, realm="orders", prefix="acme", environment="live", **options))
    return TestClient(AuthGuardMiddleware(app, guard=guard))


def status_of(store: str, key: str, **options: Any) -> int:
    """The status of a request with this key."""
    return client_of(store, **options).get("/", headers={"X-API-Key": key}).status_code


# --- create -----------------------------------------------------------------------------------------------------------


def test_a_new_key_is_printed_once_and_accepted(store: str, folder: Path) -> None:
    """Standard output is the key alone. The store has its hash, and whatever else was given."""
    roles = ["--role", "reader", "--role", "writer", "--scope", "orders", "--network", "192.0.2.0/24"]
    begin = time.time()
    done = start("apikey", *CREATE, *roles, "--expires", "90d", "--store", store, cwd=folder)

    assert (done.returncode, KEY.fullmatch(done.stdout) is not None) == (0, True), done.stderr
    (key,) = keys_in(store)
    assert key.digest == key_digest(done.stdout.strip())
    assert (key.owner, key.name, key.environment) == ("alice", "ci", "live")
    assert (sorted(key.roles), sorted(key.scopes)) == (["reader", "writer"], ["orders"])
    assert key.networks == ("192.0.2.0/24",)
    assert key.expires is not None
    assert begin <= key.expires - 90 * DAY <= time.time()
    assert re.fullmatch(rf"{key.id} \(alice, ci\): it expires \S+ \S+ UTC; this is the only time .*\n", done.stderr)
    assert done.stdout.strip() not in done.stderr


def test_a_key_that_never_expires_is_accepted(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It has to be said by name."""
    assert run("apikey", *CREATE, "--never-expires", "--store", store) == 0

    printed = capsys.readouterr()
    assert "it never expires" in printed.err
    assert status_of(store, printed.out.strip()) == 200


def test_a_key_with_a_pepper_is_accepted_by_an_app_with_that_pepper(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pepper is in a file, and the line feed at its end is none of it."""
    pepper = "a pepper of sixteen bytes"
    (folder / "pepper").write_text(f"{pepper}\n")
    (folder / "pepper").chmod(0o600)
    with_pepper = ("--pepper-file", "pepper", "--store", "keys.json")

    assert run("apikey", *CREATE, "--never-expires", *with_pepper) == 0
    first = capsys.readouterr().out.strip()
    assert run("apikey", "rotate", first.split("_")[2], *with_pepper) == 0
    second = capsys.readouterr().out.strip()

    assert [status_of("keys.json", key, pepper=pepper) for key in (first, second)] == [200, 200]
    assert [status_of("keys.json", key) for key in (first, second)] == [401, 401]


def test_the_file_is_made_for_its_owner_alone(folder: Path) -> None:
    """The first key makes the file."""
    assert run("apikey", *CREATE, "--never-expires", "--store", "keys.json") == 0

    assert stat.S_IMODE((folder / "keys.json").stat().st_mode) == 0o600


def test_the_table_is_made_when_it_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without that, the error says how."""
    store = "sqlite+aiosqlite:///keys.db"

    assert run("apikey", *CREATE, "--never-expires", "--store", store) == 2
    assert capsys.readouterr() == (
        "",
        "--store: the database has no table of API keys; make it with Alembic, or with apikey create --create-table\n",
    )
    assert run("apikey", *CREATE, "--never-expires", "--store", store, "--create-table") == 0
    assert len(keys_in(store)) == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--prefix", "Acme"), "--prefix: 'Acme' is not a prefix; write"),
        (("--environment", "li_ve"), "--environment: 'li_ve' is not an environment"),
        (("--network", "192.0.2.1/24"), "--network: 192.0.2.1/24 has host bits set"),
        (("--role", ""), "--role: "),
        (("--scope", ""), "--scope: "),
        (("--pepper-file", "none"), "--pepper-file: there is no file none; write the secret into it"),
        (("--pepper-file", "empty"), "--pepper-file: empty is empty or not UTF-8; write the secret into it"),
        (("--pepper-file", "latin"), "--pepper-file: latin is empty or not UTF-8; write the secret into it"),
        (("--pepper-file", "short"), "--pepper-file: give at least 16 random bytes; `authguard secret` makes some"),
        (("--create-table",), "--create-table: a file has no table; leave it out"),
        (("--expires", "90"), "--expires: it is not a time; write a whole number above 0 with a unit"),
        (("--expires", "0d"), "--expires: it is not a time"),
        (("--expires", "90d"), "--expires: not allowed with argument --never-expires"),
    ],
)
def test_a_wrong_argument_is_one_line_and_stores_nothing(
    arguments: tuple[str, ...], error: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the option."""
    for name, content in (("empty", b"\n"), ("latin", b"\xff" * 20), ("short", b"short\n")):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)

    assert run("apikey", *CREATE, "--store", "keys.json", "--never-expires", *arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(error)
    assert err.count("\n") == 1
    assert not (folder / "keys.json").exists()


@pytest.mark.parametrize(("owner", "name", "argument"), [("", "ci", "OWNER"), ("alice", "\x1b[31m", "NAME")])
def test_a_name_that_nobody_can_read_is_refused(
    owner: str, name: str, argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The owner and the name are shown in records."""
    assert run("apikey", "create", owner, name, "--prefix", "acme", "--never-expires", "--store", "keys.json") == 2

    err = capsys.readouterr().err
    assert err.startswith(f"{argument}: ")
    assert "\x1b" not in err


def test_an_end_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a key for ever nor one that ends is a default, because both surprise somebody."""
    assert run("apikey", *CREATE, "--store", "keys.json") == 2

    assert capsys.readouterr().err.startswith("one of the arguments --expires --never-expires is required")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_key_that_could_not_be_printed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is stored, and nobody has seen it."""
    with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        status = run("apikey", *CREATE, "--never-expires", "--store", "keys.json")
    (key,) = keys_in("keys.json")

    assert status == 2
    err = capsys.readouterr().err
    assert f"{key.id} is stored, but nobody has seen the key: authguard apikey revoke {key.id}\n" in err


# --- list, rotate, revoke ---------------------------------------------------------------------------------------------


def test_keys_are_listed_with_their_state(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each key, the oldest first, and never a hash."""
    now = time.time()
    put(
        store,
        stored_key("000000000001", created=now - 4, scopes={"a", "b"}),
        stored_key("000000000002", created=now - 3, revoked=now - 1, environment="", roles={"admin"}),
        stored_key("000000000003", created=now - 2, expires=now - 1),
        stored_key("000000000004", created=now - 1, expires=now + DAY, successor="000000000001", owner="bob"),
    )

    assert run("apikey", "list", "--store", store) == 0
    lines = capsys.readouterr().out.splitlines()
    assert run("apikey", "list", "--store", store, "--owner", "bob", "--json") == 0
    (bobs,) = json.loads(capsys.readouterr().out)["keys"]

    assert [line.split()[:1] + line.split()[3:5] for line in lines[1:]] == [
        ["000000000001", "live", "active"],
        ["000000000002", "-", "revoked"],
        ["000000000003", "live", "expired"],
        ["000000000004", "live", "rotating"],
    ]
    assert lines[0].split("  ")[0] == "ID"
    assert lines[1].endswith("  a, b")
    assert (bobs["id"], bobs["state"], bobs["successor"]) == ("000000000004", "rotating", "000000000001")
    assert "digest" not in bobs
    assert key_digest(key_text("000000000001")) not in "".join(lines)


def test_a_rotation_leaves_both_keys_good_until_the_overlap_ends(store: str, folder: Path) -> None:
    """The new key is printed alone, and the old one names it."""
    put(store, stored_key(created=time.time() - 10, scopes={"orders"}))

    done = start("apikey", "rotate", KEY_ID, "--overlap", "2d", "--no-wait", "--store", store, cwd=folder)

    assert KEY.fullmatch(done.stdout), done.stderr
    old, new = keys_in(store)
    assert (old.id, old.successor, *new.scopes) == (KEY_ID, new.id, "orders")
    assert old.expires == pytest.approx(new.created + 2 * DAY)
    assert re.search(rf"^{KEY_ID} is good for (2d|1d) more, until \S+ \S+ UTC$", done.stderr, re.MULTILINE)
    assert [status_of(store, key) for key in (key_text(), done.stdout.strip())] == [200, 200]


def test_a_key_is_rotated_once(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A second rotation, and one of a key that is revoked, would lose the first successor, or revive the key."""
    put(store, stored_key(created=time.time() - 10))
    assert run("apikey", "rotate", KEY_ID, "--store", store) == 0
    capsys.readouterr()

    assert run("apikey", "rotate", KEY_ID, "--store", store) == 2

    assert capsys.readouterr() == (
        "",
        f"ID: {KEY_ID} is revoked, expired or replaced already; make a new one\n",
    )
    assert len(keys_in(store)) == 2


def test_revoked_keys_are_refused(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Several at once. One that was revoked before keeps its time, and an unknown id is an error."""
    put(store, stored_key(), stored_key("000000000001", revoked=NOW))

    assert run("apikey", "revoke", KEY_ID, "000000000001", "--store", store) == 0
    err = capsys.readouterr().err
    assert run("apikey", "revoke", "000000000009", "--store", store) == 2

    assert err == (
        f"{KEY_ID} (alice, ci): revoked\n000000000001 (alice, ci): it was revoked already, 2027-01-15 08:00 UTC\n"
    )
    assert capsys.readouterr().err == "ID: there is no key 000000000009\n"
    assert {key.id: key.revoked == NOW for key in keys_in(store)} == {KEY_ID: False, "000000000001": True}
    assert status_of(store, key_text()) == 401


def test_a_whole_key_among_the_arguments_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """The error says that others have seen it."""
    assert run("apikey", "revoke", key_text(), "--store", "keys.json") == 2
    err = capsys.readouterr().err
    assert run("apikey", "rotate", "short", "--store", "keys.json") == 2

    assert err.startswith("ID: give the id of a key, 12 letters and digits, as `authguard apikey list` shows it; if it")
    assert key_text() not in err
    assert "history" not in capsys.readouterr().err


# --- audit ------------------------------------------------------------------------------------------------------------

POLICY = KeyPolicy(unused=90 * DAY, expires_within=14 * DAY)
GOOD: dict[str, Any] = {"created": NOW - DAY, "expires": NOW + 30 * DAY}


def _codes(key: StoredKey, policy: KeyPolicy = POLICY) -> dict[str, str]:
    return {finding.code: finding.problem for finding in find_findings([key], policy, NOW)}


@pytest.mark.parametrize(
    ("fields", "findings"),
    [
        ({}, {}),
        ({"environment": "test"}, {"key.test": "it is a key of the environment test"}),
        ({"created": NOW - 90 * DAY}, {"key.unused": "it was never used since it was made 90d ago"}),
        ({"created": NOW - 200 * DAY, "last_used": NOW - 91 * DAY}, {"key.unused": "it was last used 91d ago"}),
        ({"created": NOW - 200 * DAY, "last_used": NOW - 89 * DAY}, {}),
        ({"expires": None}, {"key.never_expires": "it never expires"}),
        ({"expires": NOW + 5 * 3600}, {"key.expires_soon": "it expires in 5h"}),
        ({"expires": NOW + 5, "successor": "000000000001"}, {}),
        ({"expires": None, "environment": "dev", "revoked": NOW - 1}, {}),
        ({"expires": NOW, "environment": "dev"}, {}),
    ],
)
def test_what_is_found_about_a_key(fields: dict[str, Any], findings: dict[str, str]) -> None:
    """Only keys that are good are looked at, and a key that is being rotated may end."""
    assert _codes(stored_key(**{**GOOD, **fields})) == findings


def test_a_key_of_another_environment_than_that_of_the_app_is_found() -> None:
    """With ``--environment``, whatever it is called."""
    policy = KeyPolicy(POLICY.unused, POLICY.expires_within, "live")

    assert _codes(stored_key(environment="", **GOOD), policy) == {"key.test": "it is a key of the environment none"}
    assert _codes(stored_key(**GOOD), policy) == {}


def test_a_scope_that_no_route_asks_for_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--app`` reads the rules and the locks of the app."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    now = time.time()
    put("keys.json", stored_key(created=now, expires=now + 99 * DAY, scopes={"orders", "payments", "users"}))
    (folder / "scoped.py").write_text(
        "from starlette.applications import Starlette\n"
        "from starlette.responses import Response\n"
        "from starlette.routing import Route\n"
        "from authguard import *\n"
        "keys = ApiKeyFile('keys.json')\n"
        "rules = [Rule('/a/{id}', scopes('orders')), Rule('/a/b', scopes('users'))]\n"
        "guard = Guard(ApiKey(keys, realm='orders', prefix='acme'), rules=rules)\n"
        "app = Starlette(routes=[Route('/a/{id}', lambda request: Response())])\n"
        "app.add_middleware(AuthGuardMiddleware, guard=guard)\n"
    )

    assert run("apikey", "audit", "--store", "keys.json", "--app", "scoped:app") == 1

    del sys.modules["scoped"]
    assert capsys.readouterr().out == (
        f"1 finding\nkey.unneeded_scope {KEY_ID} (alice, ci): no route asks for its scope payments. "
        "Make a key without it.\n"
    )


def test_the_exit_status_of_an_audit_is_for_a_pipeline(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """1 with findings, 0 without and where all are accepted; each has the fix."""
    now = time.time()
    put(store, stored_key(created=now, expires=now + 99 * DAY))

    assert run("apikey", "audit", "--store", store) == 0
    assert capsys.readouterr().out == "0 findings\n"
    put(store, stored_key("000000000001", environment="test", created=now))
    assert run("apikey", "audit", "--store", store) == 1
    assert capsys.readouterr().out == (
        "2 findings\n"
        "key.test 000000000001 (alice, ci): it is a key of the environment test. "
        "Revoke it: authguard apikey revoke 000000000001.\n"
        "key.never_expires 000000000001 (alice, ci): it never expires. "
        "Make one that expires in its place, and revoke it.\n"
    )
    assert run("apikey", "audit", "--store", store, "--ignore", "key.test", "--json") == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["code"], finding["id"], finding["owner"]) == ("key.never_expires", "000000000001", "alice")
    ignored = ("--ignore", "key.test", "--ignore", "key.never_expires 000000000001")
    assert run("apikey", "audit", "--store", store, *ignored) == 0


def test_an_unknown_code_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """An entry that accepts nothing would hide a typing mistake."""
    assert run("apikey", "audit", "--store", "keys.json", "--ignore", "key.tset") == 2

    assert capsys.readouterr().err == f"--ignore: key.tset begins with none of {', '.join(CODES)}\n"


def test_at_a_terminal_the_tables_have_colours(folder: Path) -> None:
    """With rich, the state of a key and the number of findings are seen at once."""
    put("keys.json", stored_key(environment="test"))

    _, _, listed = at_a_terminal(["apikey", "list", "--store", "keys.json"], {}, cwd=folder, COLUMNS="150")
    status, _, found = at_a_terminal(["apikey", "audit", "--store", "keys.json"], {}, cwd=folder, COLUMNS="150")
    put("good.json", stored_key(created=time.time(), expires=time.time() + 99 * DAY))
    _, _, good = at_a_terminal(["apikey", "audit", "--store", "good.json"], {}, cwd=folder, COLUMNS="150")

    assert "\x1b[32mactive" in listed
    assert status == 1
    assert "\x1b[1;31m2 findings" in found
    assert "\x1b[1;31mkey.test" in found
    assert "\x1b[1;32m0 findings" in good


def test_the_same_tables_are_printed_in_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With rich, every cell of the plain table is there."""
    monkeypatch.setattr("authguard.cli.apikey.rich_console", lambda: Console(width=150, markup=False))
    put("keys.json", stored_key(environment="test", scopes={"[red]"}))

    assert run("apikey", "list", "--store", "keys.json") == 0
    listed = capsys.readouterr().out
    assert run("apikey", "audit", "--store", "keys.json") == 1
    found = capsys.readouterr().out

    assert re.search(rf"{KEY_ID} +alice +ci +test +active +never +never +- +\[red\]", listed)
    assert found.startswith("2 findings\nkey.test ")


def test_a_long_list_is_plain_text_at_a_terminal_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rich would take a minute for a hundred thousand keys."""
    monkeypatch.setattr("authguard.cli.apikey.rich_console", lambda: Console(width=150, force_terminal=True))
    keys = [stored_key(f"{number:012}") for number in range(1001)]
    Path("keys.json").write_bytes(write_keys(keys))

    assert run("apikey", "list", "--store", "keys.json") == 0

    out = capsys.readouterr().out
    assert out.count("\n") == 1002
    assert "\x1b" not in out


# --- the store --------------------------------------------------------------------------------------------------------


def test_the_store_may_be_in_the_environment(folder: Path) -> None:
    """There, a URL may have a password, which no argument may have."""
    done = start("apikey", *CREATE, "--never-expires", cwd=folder, **{key_store.VARIABLE: "keys.json"})

    assert done.returncode == 0
    assert len(keys_in("keys.json")) == 1


@pytest.mark.parametrize(
    "store",
    [
        "postgresql+asyncpg://tests:hunter2@127.0.0.1/postgres",
        "postgresql+asyncpg://tests@127.0.0.1/postgres?password=hunter2",
        "mysql+asyncmy://tests@127.0.0.1/keys?passwd=hunter2",
    ],
)
def test_a_password_in_an_argument_is_refused(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not repeated, and the error says that others have seen it."""
    assert run("apikey", "list", "--store", store) == 2

    err = capsys.readouterr().err
    assert err.startswith(
        "--store: it has a password, which other users and the shell's history now see; choose another"
    )
    assert "hunter2" not in err


@pytest.mark.peer
def test_the_password_of_a_database_is_in_a_file_or_in_the_environment(postgres: str, folder: Path) -> None:
    """PostgreSQL asks for the password of a user, and refuses a wrong one."""
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    async def prepare() -> None:
        await SqlApiKeys(postgres).create_table()
        engine = create_async_engine(postgres)
        async with engine.begin() as connection:
            await connection.execute(text("DROP ROLE IF EXISTS keeper"))
            await connection.execute(text("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'hunter2'"))
        await engine.dispose()

    anyio.run(prepare)
    url = postgres.replace("tests@", "keeper@")
    (folder / "password").write_text("hunter2\n")
    (folder / "password").chmod(0o600)

    by_file = start("apikey", "list", "--store", url, "--password-file", "password", cwd=folder)
    by_variable = start("apikey", "list", cwd=folder, AUTHGUARD_STORE=url.replace("keeper@", "keeper:hunter2@"))

    assert (by_file.returncode, by_variable.returncode) == (0, 0), by_file.stderr + by_variable.stderr
    assert run("apikey", "list", "--store", url, "--password-file", "password") == 0


@pytest.mark.parametrize(
    ("store", "error"),
    [
        ("", f"--store: name a file or the URL of a database, or set {key_store.VARIABLE}\n"),
        ("no.json", "--store: there is no file no.json; `authguard apikey create` makes it\n"),
        (
            "sqlite+aiosqlite:///no.db",
            "--store: there is no file no.db; `authguard apikey create` makes it\n",
        ),
        ("other.json", "--store: /"),
        ("mysql://host/name", "--store: "),
        ("postgresql+asyncpg://host:port/name", "--store: it is not a URL of a database; write sqlite"),
        ("sqlite+aiosqlite://", "--store: each event loop would have a database of its own in memory; name a file\n"),
        pytest.param(
            "postgresql+asyncpg://a@127.0.0.1:1/x",  # nothing listens there
            "--store: the database cannot be used (ConnectionRefusedError); look at its address, its user and whether",
            id="a server that does not run",  # each process of pytest-xdist finds another port
        ),
        (
            "postgresql+asyncpg://a@127.0.0.1:1/x?s3cr3t=1",
            "--store: the driver of the database does not know an option of the URL\n",
        ),
        ("no/folder/keys.json", "--store: there is no file no/folder/keys.json; "),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line(
    store: str, error: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that does not exist is not made by ``list``, because a typing mistake would be an empty store."""
    (folder / "other.json").write_text("{}")

    assert run("apikey", "list", "--store", store) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(error)
    assert err.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["other.json"]


def test_a_folder_is_no_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error of the system is shown with the path."""
    assert run("apikey", "list", "--store", str(folder)) == 2

    assert capsys.readouterr().err == f"--store: {folder}: Is a directory\n"


def test_a_file_of_keys_has_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    """The option is for databases."""
    assert run("apikey", "list", "--store", "keys.json", "--password-file", "x") == 2

    assert capsys.readouterr().err == "--password-file: a file of keys has no password; leave it out\n"


def test_a_change_of_a_file_waits_for_the_apps_that_read_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person is told so. Nobody reads a file that the command has just made, and ``--no-wait`` leaves it out."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    told = "waiting 0 s, until every app reads the file; --no-wait leaves that out\n"

    assert run("apikey", *CREATE, "--never-expires", "--store", "keys.json") == 0
    first = capsys.readouterr().err
    assert run("apikey", *CREATE, "--never-expires", "--store", "keys.json") == 0
    second = capsys.readouterr().err
    assert run("apikey", *CREATE, "--never-expires", "--store", "keys.json", "--no-wait") == 0
    third = capsys.readouterr().err

    assert [told in err for err in (first, second, third)] == [False, True, False]


def test_a_person_is_told_that_the_command_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal alone, and after two seconds."""
    told: list[str] = []
    monkeypatch.setattr(key_store, "_PATIENCE", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    written = threading.Event()

    def note(text: str) -> None:
        told.append(text)
        written.set()

    monkeypatch.setattr(key_store, "note", note)

    key_store.call(anyio.to_thread.run_sync, written.wait)

    assert told == ["waiting for the store ..."]
