"""Reads how a server refuses, as a strict client would, and what proxies on the way do to a request.

This is what ``authguard probe`` and ``authguard echo`` run. Nothing here knows a guard: any server can be probed.
"""

from __future__ import annotations
