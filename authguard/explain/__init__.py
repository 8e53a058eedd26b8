"""Why a request is refused, and what to do about it: ``explain`` for a request, ``explain_record`` for a record.

``await explain(guard, request)`` decides as the guard does, and spends nothing of what the guard keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authguard.lazy_exports import lazy_exports as _lazy_exports

if TYPE_CHECKING:
    from authguard.explain.advice import ADVICE, Advice, advice_for
    from authguard.explain.explainer import explain
    from authguard.explain.explanation import Answer, Explanation, Fact, Step
    from authguard.explain.recorded import explain_record, read_record
else:
    __getattr__, __dir__ = _lazy_exports(
        __name__,
        {
            "authguard.explain.advice": ("ADVICE", "Advice", "advice_for"),
            "authguard.explain.explainer": ("explain",),
            "authguard.explain.explanation": ("Answer", "Explanation", "Fact", "Step"),
            "authguard.explain.recorded": ("explain_record", "read_record"),
        },
    )

__all__ = [
    "ADVICE",
    "Advice",
    "Answer",
    "Explanation",
    "Fact",
    "Step",
    "advice_for",
    "explain",
    "explain_record",
    "read_record",
]
