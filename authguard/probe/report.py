"""What a probe prints: the requests with their answers, then one line for each finding; or the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from authguard.probe.exchange import Answer
from authguard.probe.finding import LEVELS, Finding, in_order, shown
from authguard.value_types import value


@value
class Asked:
    """A request, in words, and its answer."""

    request: str
    answer: Answer


@value
class Report:
    """The requests that were sent to a URL, and the findings."""

    url: str
    asked: Sequence[Asked]
    findings: Sequence[Finding]

    @property
    def has_fault(self) -> bool:
        """Whether one of the findings is a fault."""
        return any(finding.level == "fault" for finding in self.findings)

    def __str__(self) -> str:
        lines = [self.url]
        for one in self.asked:
            lines.append(f"{one.request}: {one.answer.status}")
            lines += [f"  WWW-Authenticate: {shown(line, 240)}" for line in one.answer.lines("www-authenticate")]
        findings = in_order(self.findings)
        lines += map(str, findings)
        counts = (sum(finding.level == level for finding in findings) for level in LEVELS)
        lines.append(
            ", ".join(
                f"{count} {level}{'' if count == 1 else 's'}" for count, level in zip(counts, LEVELS, strict=True)
            )
        )
        return "\n".join(lines)

    def to_json(self) -> str:
        """The same for programs."""
        document = {
            "url": self.url,
            "requests": [
                {
                    "request": one.request,
                    "status": one.answer.status,
                    "www_authenticate": [line.decode("latin-1") for line in one.answer.lines("www-authenticate")],
                }
                for one in self.asked
            ],
            "findings": [
                {
                    "level": finding.level,
                    "code": finding.code,
                    "what": finding.what,
                    "why": finding.why,
                    "section": finding.section,
                    "fix": finding.fix,
                }
                for finding in in_order(self.findings)
            ],
        }
        return json.dumps(document, indent=2)
