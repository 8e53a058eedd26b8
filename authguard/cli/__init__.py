"""``python -m authguard``: audit the routes of an app, and make the lines of an htdigest file."""

from __future__ import annotations

from authguard.cli.command import main

__all__ = ["main"]
