"""Records: one for each decision, to the log and to the hooks."""

from __future__ import annotations

from authguard.records.counts import CountKey
from authguard.records.record import Hook, Record, denials

__all__ = [
    "CountKey",
    "Hook",
    "Record",
    "denials",
]
