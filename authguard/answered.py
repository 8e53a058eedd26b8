"""The answer to a denial, whatever becomes of the body that an app renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from authguard import record
from authguard.model import Denied
from authguard.reasons import BACKEND_FAILED
from authguard.request import AuthRequest
from authguard.respond import Render, Reply, reply_to
from authguard.schemes.base import Scheme


def answered(
    request: AuthRequest, denied: Denied, schemes: Sequence[Scheme], render: Render | None
) -> tuple[Reply, Denied]:
    """The answer to a denial, and the denial that it answers: an outage where the answer itself failed."""
    try:
        return _rendered(request, denied, schemes, render), denied
    except Exception as error:  # noqa: BLE001 - no request gets a 500
        failed = replace(denied, reason=BACKEND_FAILED, facts=record.failure(error), response_headers=())
        return reply_to(request, failed, schemes), failed


def _rendered(request: AuthRequest, denied: Denied, schemes: Sequence[Scheme], render: Render | None) -> Reply:
    if render is not None:
        try:
            return reply_to(request, denied, schemes, render)
        except Exception as error:  # noqa: BLE001 - a body is not worth a challenge: ours stands in
            record.log_failure("render", error)
    return reply_to(request, denied, schemes)
