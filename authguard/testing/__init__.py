"""For tests of an app behind a guard: act as a principal, make credentials, move a clock, assert denials and routes.

Nothing else in authguard imports it. As pytest fixtures: ``pytest_plugins = ["authguard.testing.pytest_plugin"]``.
"""

from __future__ import annotations

from authguard.testing.acting import ActingAs, acting_as
from authguard.testing.assertions import assert_denied
from authguard.testing.clock import ManualClock
from authguard.testing.credentials import TestIssuer, basic_auth, digest_auth
from authguard.testing.recording import Recording, recording
from authguard.testing.route_matrix import AssertMatrix, assert_matrix, route_matrix

__all__ = [
    "ActingAs",
    "AssertMatrix",
    "ManualClock",
    "Recording",
    "TestIssuer",
    "acting_as",
    "assert_denied",
    "assert_matrix",
    "basic_auth",
    "digest_auth",
    "recording",
    "route_matrix",
]
