"""Records: one for each decision, to the log and to the hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authguard.lazy_exports import lazy_exports as _lazy_exports
from authguard.records.counts import CountKey
from authguard.records.record import Hook, Record, denials

if TYPE_CHECKING:
    from authguard.records.decision_file import DecisionFile
else:
    __getattr__, __dir__ = _lazy_exports(__name__, {"authguard.records.decision_file": ("DecisionFile",)})

__all__ = [
    "CountKey",
    "DecisionFile",
    "Hook",
    "Record",
    "denials",
]
