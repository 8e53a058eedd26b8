"""``authguard apikey``: make, list, rotate, revoke and audit the API keys of a file or a database."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from authguard.accounts.api_key import NewKey, Rotation, StoredKey, new_key, rotate_key
from authguard.cli.durations import duration, shown_duration
from authguard.cli.key_report import (
    CODES,
    KeyPolicy,
    check_ignore,
    find_findings,
    findings_as_json,
    keys_as_json,
    minute,
    render_findings,
    render_keys,
)
from authguard.cli.key_store import (
    READ_AFTER,
    VARIABLE,
    KeyStore,
    call,
    open_store,
    option_names,
    read_secret,
    wait_for_readers,
)
from authguard.cli.terminal import note, rich_console, write
from authguard.errors import ConfigurationError
from authguard.wire.api_key import ID_LENGTH, is_key_id

DESCRIPTION = f"""Makes, lists, rotates, revokes and audits API keys, in a file or in a database.
The store is a file, as ApiKeyFile(...) reads it, or the URL of a database, as SqlApiKeys(...) has it. It is the option
--store or the variable {VARIABLE}. A password is in the variable or in a file, never in an argument.
`authguard apikey ACTION --help` describes each action."""
EPILOG = """Examples:
  authguard apikey create alice ci --store keys.json --prefix acme --environment live --scope orders --expires 90d
  authguard apikey list --store keys.json
  authguard apikey rotate Zk3mV0pQ8sT1 --store keys.json --overlap 7d
  authguard apikey audit --store postgresql+asyncpg://orders@localhost/orders --password-file password --unused 90d"""

# A longer list is plain text: rich would take a minute to lay out a hundred thousand rows.
_MOST_DRAWN = 1000

_CREATE = """Makes a key, prints it once, and stores its hash. Nobody can show it again.
Standard output is the key alone: pass it on in a pipe, or to a file that only its owner reads."""
_LIST = "Prints all keys of the store, the oldest first, with their state. No key itself is in the store."
_ROTATE = """Makes a key in the place of one, and prints it once. The old key is good until the overlap ends.
Owner, name, roles, scopes, networks and the length of its life are those of the old one. Uses of the old key are
recorded as rotating."""
_REVOKE = (
    "Revokes keys at once: an app with a database refuses them at the next request, one with a file within 2.5 seconds."
)
_AUDIT = """Prints findings about the keys that are good: not used for long, expiring soon, never expiring, of a test
environment, or with a scope that no route asks for. The exit status is 0 if there is no finding, 1 if there are."""
_IGNORE = f"accept a finding: its code, or its code and the id of the key; may be repeated. Codes: {', '.join(CODES)}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of this command, each with its arguments."""
    actions = parser.add_subparsers(required=True, metavar="ACTION", title="actions")

    def add(name: str, summary: str, text: str, action: Callable[[Any], int]) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=summary, description=text)
        added.add_argument("--store", metavar="STORE", help=f"a file, or the URL of a database; or set {VARIABLE}")
        added.add_argument("--password-file", type=Path, metavar="FILE", help="the password for the URL of a database")
        added.set_defaults(action=action, parser=added)
        return added

    _add_create(add("create", "make a key and print it once", _CREATE, _create))
    _add_list(add("list", "list the keys", _LIST, _list))
    rotate = add("rotate", "make a key in the place of one, with an overlap", _ROTATE, _rotate)
    _add_wait(rotate)
    rotate.add_argument("id", type=_key_id, metavar="ID", help="the id of the old key, as list shows it")
    overlap = "how long the old key stays good: 1h, 7d (the default)"
    rotate.add_argument("--overlap", type=duration, default=7 * 86_400, metavar="TIME", help=overlap)
    _add_pepper(rotate)
    revoke = add("revoke", "revoke keys at once", _REVOKE, _revoke)
    _add_wait(revoke)
    revoke.add_argument("ids", type=_key_id, nargs="+", metavar="ID", help="the ids of the keys, as list shows them")
    _add_audit(add("audit", "find keys that should not be there", _AUDIT, _audit))


def _add_create(parser: argparse.ArgumentParser) -> None:
    several = partial(parser.add_argument, action="append", default=[])
    parser.add_argument("owner", metavar="OWNER", help="who acts with it: the subject of the principal")
    parser.add_argument("name", metavar="NAME", help="what the owner calls it, such as ci")
    parser.add_argument("--prefix", required=True, help="how the keys of the app begin, as its ApiKey(...) has it")
    parser.add_argument("--environment", default="", help="as the ApiKey(...) of the app has it, such as live or test")
    several("--role", help="a role; may be repeated")
    several("--scope", help="a scope; may be repeated")
    several("--network", help="a network that it may be used from, such as 192.0.2.0/24; may be repeated")
    end = parser.add_mutually_exclusive_group(required=True)
    end.add_argument("--expires", type=duration, metavar="TIME", help="how long it is good: 8h, 90d")
    end.add_argument("--never-expires", action="store_true", help="it is good until it is revoked")
    _add_pepper(parser)
    _add_wait(parser)
    parser.add_argument("--create-table", action="store_true", help="make the table of the database if it is missing")


def _add_pepper(parser: argparse.ArgumentParser) -> None:
    help_text = "the pepper of the ApiKey(...) of the app, if it has one"
    parser.add_argument("--pepper-file", type=Path, metavar="FILE", help=help_text)


def _add_wait(parser: argparse.ArgumentParser) -> None:
    help_text = f"do not wait {READ_AFTER:g} s until every app that reads the file has read it"
    parser.add_argument("--no-wait", action="store_true", help=help_text)


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--owner", help="only the keys of this owner")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_audit(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--unused", type=duration, default=90 * 86_400, metavar="TIME", help="not used for so long; the default is 90d")
    soon = "expiring within this time; the default is 14d"
    add("--expires-within", type=duration, default=14 * 86_400, metavar="TIME", help=soon)
    add("--environment", help="that of the app; by default, keys of test, dev, staging and the like are findings")
    add("--app", metavar="MODULE:APP", help="find scopes that no route of this app asks for, as routes shows them")
    add("--json", action="store_true", help="print JSON")
    add("--ignore", action="append", default=[], metavar="FINDING", help=_IGNORE)


def run(arguments: argparse.Namespace) -> int:
    """Run the action and return the exit status. Raises ``ConfigurationError``, which shows no secret."""
    status: int = arguments.action(arguments)
    return status


def _create(arguments: argparse.Namespace) -> int:
    store = open_store(arguments.store, arguments.password_file, may_be_new=True)
    admin: Any = store.admin
    now = time.time()
    with option_names():
        new = new_key(
            arguments.owner,
            arguments.name,
            prefix=arguments.prefix,
            environment=arguments.environment,
            roles=arguments.role,
            scopes=arguments.scope,
            networks=arguments.network,
            expires=None if arguments.never_expires else now + arguments.expires,
            pepper=_pepper(arguments),
            now=now,
        )
    if arguments.create_table:
        if not hasattr(admin, "create_table"):
            raise ConfigurationError("--create-table", "a file has no table; leave it out")

        async def make_and_add() -> None:
            await admin.create_table()
            await admin.add(new.stored)

        call(make_and_add)
    else:
        call(admin.add, new.stored)
    _settle(store, arguments)
    _print_new(new)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    now = time.time()
    keys = call(open_store(arguments.store, arguments.password_file).admin.keys)
    if arguments.owner is not None:
        keys = [key for key in keys if key.owner == arguments.owner]
    console = None if arguments.json or len(keys) > _MOST_DRAWN else rich_console()
    if console is not None:
        from authguard.cli.key_table import print_keys  # noqa: PLC0415 - it needs rich, which is optional

        print_keys(console, keys, now)
    else:
        write(keys_as_json(keys, now) if arguments.json else render_keys(keys, now))
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    made: list[Rotation] = []
    pepper, now = _pepper(arguments), time.time()

    def change(old: StoredKey) -> Sequence[StoredKey]:
        rotation = rotate_key(old, overlap=arguments.overlap, pepper=pepper, now=now)
        made.append(rotation)
        return [rotation.old, rotation.new.stored]

    store = open_store(arguments.store, arguments.password_file)
    call(store.admin.change, arguments.id, change)
    rotation = made[-1]
    _settle(store, arguments)
    _print_new(rotation.new)
    ends = rotation.old.expires or now
    note(f"{rotation.old.id} is good for {shown_duration(ends - now)} more, until {minute(ends)}")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    store = open_store(arguments.store, arguments.password_file)
    now = time.time()
    before: dict[str, float | None] = {}

    def change(key: StoredKey) -> Sequence[StoredKey]:
        before[key.id] = key.revoked
        return [key if key.revoked is not None else replace(key, revoked=now)]

    async def revoke_all() -> None:
        for key_id in arguments.ids:
            (key,) = await store.admin.change(key_id, change)
            was = before[key_id]
            done = "revoked" if was is None else f"it was revoked already, {minute(was)}"
            note(f"{key.id} ({key.owner}, {key.name}): {done}")

    call(revoke_all)
    _settle(store, arguments)
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    ignore = check_ignore(arguments.ignore)
    scopes = None if arguments.app is None else _scopes_of_routes(arguments.app)
    policy = KeyPolicy(arguments.unused, arguments.expires_within, arguments.environment, scopes)
    keys, now = call(open_store(arguments.store, arguments.password_file).admin.keys), time.time()
    found = find_findings(keys, policy, now)
    findings = [finding for finding in found if not {finding.code, finding.key} & ignore]
    console = None if arguments.json else rich_console()
    if console is not None:
        from authguard.cli.key_table import print_findings  # noqa: PLC0415 - it needs rich, which is optional

        print_findings(console, findings)
    else:
        write(findings_as_json(findings) if arguments.json else render_findings(findings))
    return 1 if findings else 0


def _scopes_of_routes(name: str) -> frozenset[str]:
    """The scopes that the rules and the locks of an app ask for. Raises ``ConfigurationError``."""
    from authguard.audit.audit import audit  # noqa: PLC0415 - with the frameworks, which only this option needs
    from authguard.cli.app import first_guard, load_app  # noqa: PLC0415 - the same

    app = load_app(name)
    rows = audit(app, first_guard(app)).rows
    asked = [requirement for row in rows for requirement, _ in row.requirements]
    asked += [requirement for row in rows for requirement, _, _ in row.narrower]
    return frozenset(scope for requirement in asked for scope in requirement.scopes_named())


def _settle(store: KeyStore, arguments: argparse.Namespace) -> None:
    """Return when the change is in force in every app, so that a new key is accepted and a revoked one refused."""
    if not arguments.no_wait:
        wait_for_readers(store)


def _print_new(new: NewKey) -> None:
    """Print the key alone on standard output, and what a person should know beside it."""
    key = new.stored
    try:
        write(new.text)
    except (ConfigurationError, BrokenPipeError):
        note(f"{key.id} is stored, but nobody has seen the key: authguard apikey revoke {key.id}")
        raise
    end = "never expires" if key.expires is None else f"expires {minute(key.expires)}"
    note(f"{key.id} ({key.owner}, {key.name}): it {end}; this is the only time that the key is shown")


def _pepper(arguments: argparse.Namespace) -> str | None:
    return None if arguments.pepper_file is None else read_secret("--pepper-file", arguments.pepper_file)


def _key_id(argument: str) -> str:
    """An id. A whole key is refused, because it is in the history of the shell now."""
    if not is_key_id(argument):
        problem = f"give the id of a key, {ID_LENGTH} letters and digits, as `authguard apikey list` shows it"
        if len(argument) > ID_LENGTH:
            problem += "; if it was a whole key, revoke that one, for other users and the shell's history have seen it"
        raise argparse.ArgumentTypeError(problem)
    return argument
