"""Requests with as many small parts as fit into the places where credentials are looked for."""

from __future__ import annotations

import pytest

from authguard import AuthRequest, LoggedQuery, Moment
from tests.support.asgi import websocket_scope
from tests.support.call_count import count_calls
from tests.support.clock import NOW


@pytest.mark.parametrize("part", [b"&", b"%&", b"a=&", b"access_toke&"])
def test_a_parameter_that_is_too_short_for_the_name_is_not_decoded(part: bytes) -> None:
    """One call for each, to ask how long it is."""
    carrier = LoggedQuery("access_token")

    def calls(number: int) -> int:
        request = AuthRequest(websocket_scope("/", query_string=part * number), "/", Moment(NOW, 60.0))
        return count_calls(lambda: carrier.find(request))

    assert calls(1000) - calls(100) <= 900
