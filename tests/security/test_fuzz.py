"""Fuzzing of the ``Authorization`` field."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authguard import claim, role
from authguard.policy.rules import Rule
from authguard.wire.authorization import split
from tests.security.token_strategies import mutated
from tests.support.coroutines import run_without_waiting
from tests.support.guards import REASON_CODES, GuardedApp
from tests.support.schemes.bearer import bearer, issuer
from tests.support.tokens import claims, mint, raw_token, rsa_key

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


_urls = st.sampled_from(["http://", "https://login.example", "HTTPS://LOGIN.example//", "https://@/", "http://[::1"])
_names = st.builds("{}{}".format, _urls | st.just(""), st.text(":/?#[]@%.a0 \t\0", max_size=6))
_odd = st.none() | st.booleans() | st.floats() | _names | st.lists(_names, max_size=2) | st.just({"roles": ["admin"]})
_claims = st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "roles", "scp", "cnf", "realm_access"]), _odd)
_members = st.dictionaries(st.sampled_from(["kid", "typ", "crit", "nonce"]), _odd, max_size=2)
_closed = GuardedApp(
    bearer(issuer(roles=claim("realm_access", "roles"), name="https://login.example/")), rules=[Rule("/**", role("x"))]
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_members, _claims, st.booleans())
def test_what_explains_a_refusal_never_makes_it_an_outage(
    members: dict[str, object], changes: dict[str, object], is_signed: bool
) -> None:
    """Whatever the header and the claims of a token hold, its refusal is explained: no text raises, and no fact is
    left out because it could not be made."""
    token = raw_token({"alg": "RS256", **members}, claims(**changes), rsa_key())

    answer = run_without_waiting(_closed.get_with_token(token if is_signed else token[:-4] + "AAAA"))

    assert answer.status in {401, 403}
    assert answer.reason in REASON_CODES
    assert "untold" not in answer.record.facts
