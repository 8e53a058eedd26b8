"""Fuzzing of the ``Authorization`` field."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authguard.wire.authorization import split
from tests.security.token_strategies import mutated
from tests.support.coroutines import run_without_waiting
from tests.support.guards import REASON_CODES, GuardedApp
from tests.support.tokens import mint

_door = GuardedApp()
_token = mint()
_good = b"Bearer " + _token.encode()
_schemes = st.sampled_from([b"", b"Bearer", b"bearer ", b"BEARER  ", b"Bearer\t", b"Basic ", b"Digest ", b"DPoP "])
_rests = st.binary(max_size=64) | st.text('Aa0.-_~+/= ,"\\\t\0\xff', max_size=64).map(
    lambda text: text.encode("latin-1")
)
_fields = st.tuples(_schemes, _rests).map(b"".join) | mutated(_good) | st.just(_good) | st.binary(max_size=64)


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_fields, max_size=2))
def test_any_field_gets_one_response_and_one_record(fields: list[bytes]) -> None:
    """No field raises or causes an outage, each has a known reason, and only the unchanged token is granted."""
    answer = run_without_waiting(_door.get(None, *((b"authorization", field) for field in fields)))

    assert len(answer.records) == 1
    if answer.status == 200:
        assert [split(field).rest for field in fields] == [_token.encode()]
        assert answer.reason is None
    else:
        assert answer.status in {400, 401}
        assert answer.reason in REASON_CODES
        assert answer.record.status == answer.status
