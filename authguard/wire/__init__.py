"""Header fields and tokens: parse bytes into values, and write values as bytes.

The package uses the standard library only: no ASGI, no I/O, no clock.
"""

from __future__ import annotations

from authguard.wire.authorization import Credentials, auth_params, token68
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError

__all__ = ["Challenge", "Credentials", "WireError", "auth_params", "token68"]
