"""Which decisions a page asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from authguard.records.record import Record
from authguard.value_types import frozen

#: The longest text to look for, in characters: records hold no longer one.
MAX_TEXT = 200


@frozen
class DecisionFilter:
    """What a decision must have. An empty text is no condition.

    ``reason`` and ``rule`` are compared as a whole; ``path``, ``subject`` and ``client`` may be a part, in any case of
    letters. Without ``grants``, only refusals are meant. ``process`` is the id of one, where several are shown.
    """

    reason: str = ""
    rule: str = ""
    path: str = ""
    subject: str = ""
    client: str = ""
    grants: bool = False
    process: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """The filter that a query asks for. What it does not know it ignores."""
        names = ("reason", "rule", "path", "subject", "client")
        reason, rule, path, subject, client = (query.get(name, "")[:MAX_TEXT].strip() for name in names)
        grants, process = query.get("grants") == "1", query.get("process", "")[:MAX_TEXT]
        return cls(reason, rule, path.lower(), subject.lower(), client.lower(), grants, process)

    def matches(self, record: Record) -> bool:
        """Whether the decision is meant."""
        return (
            (not self.reason or self.reason == record.reason)
            and (not self.rule or self.rule == record.rule)
            and (not self.path or self.path in f"{record.method} {record.path}".lower())
            and (not self.subject or self.subject in (record.subject or "").lower())
            and (not self.client or self.client in (record.client or "").lower())
        )
