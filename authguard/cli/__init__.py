"""The command ``authguard``: keys, tokens, secrets and lines of password files, and the audit of an app's routes."""

from __future__ import annotations

from authguard.cli.command import main

__all__ = ["main"]
