"""Records: one for each decision, to the log and to the hooks."""

from __future__ import annotations

from authguard.records.record import Hook, Record

__all__ = [
    "Hook",
    "Record",
]
