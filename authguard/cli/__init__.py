"""``python -m authguard``: what of an app is open, and lines for a file of Digest."""

from __future__ import annotations

from authguard.cli.command import main

__all__ = ["main"]
