"""For tests of an app behind a guard: who acts, headers that are verified, a clock, denials, the matrix of routes.

Nothing else in authguard imports it. As fixtures: ``pytest_plugins = ["authguard.testing.pytest_plugin"]``.
"""

from __future__ import annotations

from authguard.testing.acting import acting_as
from authguard.testing.clock import ManualClock
from authguard.testing.denied import assert_denied
from authguard.testing.digested import digest_auth
from authguard.testing.matrix import assert_matrix, route_matrix
from authguard.testing.minted import MintingIssuer, basic_auth
from authguard.testing.recorded import recording
from authguard.testing.typed import ActingAs, AssertMatrix, Recording

__all__ = [
    "ActingAs",
    "AssertMatrix",
    "ManualClock",
    "MintingIssuer",
    "Recording",
    "acting_as",
    "assert_denied",
    "assert_matrix",
    "basic_auth",
    "digest_auth",
    "recording",
    "route_matrix",
]
