"""The inspector: a page on which a person sees why requests are refused, while it happens.

``app.mount("/inspector", inspector(guard, role("operator")))``
"""

from __future__ import annotations

from authguard.inspector.mount import inspector

__all__ = ["inspector"]
