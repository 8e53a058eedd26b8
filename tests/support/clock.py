"""The moment at which the tests take place.

A clock that a test moves is ``authguard.testing.ManualClock``, which starts at this moment. Where only intervals count,
as for ``monotonic=``, tests start it at 1000.
"""

from __future__ import annotations

NOW = 1_800_000_000.0
