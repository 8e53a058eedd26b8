"""What is looked at once, when an app's routes are all there: whether it is open where nobody meant it to be."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from authguard.audit.audit import audit_behind
from authguard.audit.findings import Finding, check_ignore
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.model import Denied
from authguard.reasons import BACKEND_FAILED
from authguard.records.record import failure, log, log_failure, shown

# What is told where nothing is strict: what is more open than it says.
_TOLD = ("lock.bypassed", "lock.covered", "open.hosts", "open.wide")


class StartupAudit:
    """The audit of the app inside a guard, made where its lifespan has started, or else with the first request.

    ``strict``: whether the app must not start on a finding, or where the audit itself fails. ``ignore``: findings that
    are accepted, as ``audit`` takes them.
    """

    def __init__(self, app: object, guard: Guard, *, strict: bool, ignore: Collection[str]) -> None:
        if not isinstance(strict, bool):
            raise ConfigurationError("strict", f"{strict!r} is neither True nor False; ignore=[...] accepts findings")
        self._app, self._guard, self._strict, self._ignore = app, guard, strict, check_ignore(ignore)
        #: Whether it has been looked, and the app may start.
        self.passed = False
        self._problem: ConfigurationError | None = None
        self._told = False

    def problem(self) -> ConfigurationError | None:
        """Why the app must not start. Looks once."""
        if not self.passed and self._problem is None:
            self._problem = self._look()
            self.passed = self._problem is None
        return self._problem

    def refusal(self) -> Denied | None:
        """The denial of a request that came though the app must not start. Told in one ERROR."""
        problem = self.problem()
        if problem is None:
            return None
        if not self._told:
            self._told = True
            log.error("%s", problem)
        return Denied(BACKEND_FAILED, facts={"problem": "strict=True, and the audit has findings"})

    def _look(self) -> ConfigurationError | None:
        try:
            findings = audit_behind(self._app, self._guard, ignore=self._ignore).findings
        except Exception as error:  # noqa: BLE001 - what an app is made of may raise whatever is asked of it
            if self._strict:
                facts = "".join(f" {name}={shown(fact)}" for name, fact in failure(error).items())
                return ConfigurationError("strict", f"the audit failed:{facts}")
            log_failure("the audit", error)
            return None
        if self._strict and findings:
            count = f"{len(findings)} finding{'s'[: len(findings) != 1]}"
            accept = f'A finding is accepted by ignore=["{findings[0].code} {findings[0].about}"].'
            told = [f"strict=True, and the audit has {count}:", *map(str, findings), accept]
            return ConfigurationError("authguard", "\n  ".join(told))
        wide = sorted((one for one in findings if one.code in _TOLD), key=lambda one: one.code)
        for _, alike in groupby(wide, key=lambda one: one.code):
            _warn(list(alike))
        return None


def _warn(alike: list[Finding]) -> None:
    log.warning("\n  ".join(["%s", *["%s"] * (len(alike) - 1)]), *alike)
