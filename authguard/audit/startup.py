"""The audit at start-up, when an app has all its routes: it warns of unintended openings, or refuses to start."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from authguard.audit.audit import audit_inner
from authguard.audit.findings import Finding, check_ignore
from authguard.audit.report import finding_count
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.model import Denied
from authguard.reasons import BACKEND_FAILED
from authguard.records.record import exception_facts, format_value, log, log_failure

# An app that is not strict warns of these alone: each makes something more open than the code suggests.
_WARNED_OF = ("lock.bypassed", "lock.covered", "open.hosts", "open.wide")


class StartupAudit:
    """Audits the app inside a guard once: when its lifespan has started, or else with the first request.

    ``strict``: whether the app must not start if there is a finding, or if the audit itself fails. ``ignore``: accepted
    findings, as for ``audit``. Raises ``ConfigurationError``.
    """

    def __init__(self, app: object, guard: Guard, *, strict: bool, ignore: Collection[str]) -> None:
        if not isinstance(strict, bool):
            raise ConfigurationError("strict", f"{strict!r} is neither True nor False; ignore=[...] accepts findings")
        self._app, self._guard, self._strict, self._ignore = app, guard, strict, check_ignore(ignore)
        #: Whether the audit has been made and the app may start.
        self.passed = False
        self._problem: ConfigurationError | None = None
        self._is_logged = False

    def problem(self) -> ConfigurationError | None:
        """Why the app must not start, if so. The first call makes the audit."""
        if not self.passed and self._problem is None:
            self._problem = self._audit()
            self.passed = self._problem is None
        return self._problem

    def refusal(self) -> Denied | None:
        """The denial of a request to an app that must not start. The first call logs an ERROR with the findings."""
        problem = self.problem()
        if problem is None:
            return None
        if not self._is_logged:
            self._is_logged = True
            log.error("%s", problem)
        return Denied(BACKEND_FAILED, facts={"problem": "strict=True, and the audit has findings"})

    def _audit(self) -> ConfigurationError | None:
        try:
            findings = audit_inner(self._app, self._guard, ignore=self._ignore).findings
        except Exception as error:  # noqa: BLE001 - an object of the app may raise on any attribute
            if self._strict:
                facts = "".join(f" {name}={format_value(fact)}" for name, fact in exception_facts(error).items())
                return ConfigurationError("strict", f"the audit failed:{facts}")
            log_failure("the audit", error)
            return None
        if self._strict and findings:
            head = f"strict=True, and the audit has {finding_count(findings)}:"
            hint = f'To accept a finding, pass ignore=["{findings[0].key}"].'
            return ConfigurationError("authguard", "\n  ".join([head, *map(str, findings), hint]))
        warnings = sorted((finding for finding in findings if finding.code in _WARNED_OF), key=_code)
        for _, findings_of_code in groupby(warnings, key=_code):
            _warn(list(findings_of_code))
        return None


def _code(finding: Finding) -> str:
    return finding.code


def _warn(findings: list[Finding]) -> None:
    log.warning("\n  ".join(["%s"] * len(findings)), *findings)
