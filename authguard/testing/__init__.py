"""For tests of an app behind a guard: act as a principal, make credentials, move a clock, assert denials and routes.

Nothing else in authguard imports it. pytest finds the same helpers as fixtures by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authguard.lazy_exports import lazy_exports as _lazy_exports

if TYPE_CHECKING:
    from authguard.testing.acting import ActingAs, acting_as
    from authguard.testing.assertions import assert_denied
    from authguard.testing.client_certificate import ClientCertificate
    from authguard.testing.clock import ManualClock
    from authguard.testing.credentials import TestIssuer, basic_auth, digest_auth
    from authguard.testing.dpop import DpopKey
    from authguard.testing.matrix import AssertMatrix, assert_matrix, route_matrix
    from authguard.testing.record_list import Recording, recording
else:
    __getattr__, __dir__ = _lazy_exports(
        __name__,
        {
            "authguard.testing.acting": ("ActingAs", "acting_as"),
            "authguard.testing.assertions": ("assert_denied",),
            "authguard.testing.client_certificate": ("ClientCertificate",),
            "authguard.testing.clock": ("ManualClock",),
            "authguard.testing.credentials": ("TestIssuer", "basic_auth", "digest_auth"),
            "authguard.testing.dpop": ("DpopKey",),
            "authguard.testing.record_list": ("Recording", "recording"),
            "authguard.testing.matrix": ("AssertMatrix", "assert_matrix", "route_matrix"),
        },
    )

__all__ = [
    "ActingAs",
    "AssertMatrix",
    "ClientCertificate",
    "DpopKey",
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
