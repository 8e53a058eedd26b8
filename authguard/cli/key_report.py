"""API keys as tables and as JSON, and what an audit of them finds."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from authguard.accounts.api_key import StoredKey
from authguard.cli.durations import shown_duration
from authguard.cli.terminal import printable
from authguard.errors import ConfigurationError
from authguard.value_types import frozen

#: The heads of the columns.
COLUMNS = ("ID", "OWNER", "NAME", "ENVIRONMENT", "STATE", "EXPIRES", "LAST USED", "ROLES", "SCOPES")
#: The codes of findings.
CODES = ("key.test", "key.unused", "key.expires_soon", "key.never_expires", "key.unneeded_scope")
#: Environments whose keys are for tests, if nobody says what the environment of the app is.
TEST_ENVIRONMENTS = frozenset({"dev", "development", "local", "sandbox", "staging", "test", "testing"})


@frozen
class KeyFinding:
    """One finding about a key: a code of ``CODES``, the id of the key, whose it is, the problem and the fix."""

    code: str
    id: str
    owner: str
    name: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.key} ({self.owner}, {self.name}): {self.problem}. {self.fix}."

    @property
    def key(self) -> str:
        """The ``--ignore`` entry for this finding alone."""
        return f"{self.code} {self.id}"


@frozen
class KeyPolicy:
    """What an audit wants of keys.

    - ``unused``, ``expires_within``: seconds.
    - ``environment``: that of the app; None if only the keys of test environments are findings.
    - ``scopes``: those that the routes of the app ask for; None if that is not known.
    """

    unused: float
    expires_within: float
    environment: str | None = None
    scopes: frozenset[str] | None = None


def state(key: StoredKey, now: float) -> str:
    """``active``, ``rotating``, ``expired`` or ``revoked``."""
    if key.revoked is not None:
        return "revoked"
    if key.expires is not None and key.expires <= now:
        return "expired"
    return "active" if key.successor is None else "rotating"


def find_findings(keys: Sequence[StoredKey], policy: KeyPolicy, now: float) -> Iterator[KeyFinding]:
    """The findings about all keys that are good."""
    for key in keys:
        if state(key, now) in {"active", "rotating"}:
            for code, problem, fix in _about(key, policy, now):
                yield KeyFinding(code, key.id, key.owner, key.name, problem, fix)


def _about(key: StoredKey, policy: KeyPolicy, now: float) -> Iterator[tuple[str, str, str]]:
    revoke = f"Revoke it: authguard apikey revoke {key.id}"
    foreign = (
        key.environment in TEST_ENVIRONMENTS if policy.environment is None else key.environment != policy.environment
    )
    if foreign:
        yield "key.test", f"it is a key of the environment {key.environment or 'none'}", revoke
    last = key.created if key.last_used is None else key.last_used
    if now - last >= policy.unused:
        what = "it was never used since it was made" if key.last_used is None else "it was last used"
        yield "key.unused", f"{what} {shown_duration(now - last)} ago", revoke
    if key.expires is None:
        yield "key.never_expires", "it never expires", "Make one that expires in its place, and revoke it"
    elif key.successor is None and key.expires - now <= policy.expires_within:
        ends = f"it expires in {shown_duration(key.expires - now)}"
        yield "key.expires_soon", ends, f"Rotate it: authguard apikey rotate {key.id}"
    unneeded = frozenset[str]() if policy.scopes is None else key.scopes - policy.scopes
    if unneeded:
        names = ", ".join(sorted(unneeded))
        yield "key.unneeded_scope", f"no route asks for its scope {names}", "Make a key without it"


def check_ignore(ignore: Collection[str]) -> frozenset[str]:
    """The entries of ``--ignore``. Raises ``ConfigurationError`` for one that begins with no code."""
    for entry in ignore:
        if entry.partition(" ")[0] not in CODES:
            raise ConfigurationError("--ignore", f"{printable(entry)} begins with none of {', '.join(CODES)}")
    return frozenset(ignore)


def cells(key: StoredKey, now: float) -> tuple[str, ...]:
    """The cells of a key, under ``COLUMNS``."""
    return (
        key.id,
        printable(key.owner),
        printable(key.name),
        key.environment or "-",
        state(key, now),
        "never" if key.expires is None else day(key.expires),
        "never" if key.last_used is None else day(key.last_used),
        printable(", ".join(sorted(key.roles))) or "-",
        printable(", ".join(sorted(key.scopes))) or "-",
    )


def render_keys(keys: Sequence[StoredKey], now: float) -> str:
    """A table of keys in plain text."""
    table = [COLUMNS, *(cells(key, now) for key in keys)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
    return "\n".join(lines)


def render_findings(findings: Sequence[KeyFinding]) -> str:
    """The number of findings, and a line for each."""
    return "\n".join([finding_count(findings), *(printable(str(finding)) for finding in findings)])


def finding_count(findings: Sequence[KeyFinding]) -> str:
    """``0 findings``, ``1 finding``, ``2 findings``."""
    return "1 finding" if len(findings) == 1 else f"{len(findings)} findings"


def keys_as_json(keys: Sequence[StoredKey], now: float) -> str:
    """The keys as JSON, without their hashes. Times are seconds since the epoch."""
    return json.dumps({"keys": [_record(key, now) for key in keys]}, indent=2)


def findings_as_json(findings: Sequence[KeyFinding]) -> str:
    """The findings as JSON."""
    return json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2)


def _record(key: StoredKey, now: float) -> Mapping[str, object]:
    return {
        "id": key.id,
        "owner": key.owner,
        "name": key.name,
        "prefix": key.prefix,
        "environment": key.environment,
        "state": state(key, now),
        "roles": sorted(key.roles),
        "scopes": sorted(key.scopes),
        "networks": list(key.networks),
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
        "last_used": key.last_used,
        "successor": key.successor,
    }


def day(time: float) -> str:
    """The day in UTC: ``2026-11-29``."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d}"


def minute(time: float) -> str:
    """The minute in UTC: ``2026-11-29 10:30 UTC``."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"
