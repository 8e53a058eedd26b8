"""``check=``: a function of the app that accepts or refuses the tokens of one issuer, by their claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from authguard import Bearer, ConfigurationError, Failure, Reason, Rejected
from tests.support.clock import NOW
from tests.support.schemes.bearer import (
    accepted_principal,
    bearer,
    bearer_credentials,
    bearer_request,
    issuer,
    outcome,
    rejection,
)
from tests.support.schemes.introspection import OPAQUE_TOKEN, IntrospectionServer, active_response, introspection
from tests.support.tokens import ISSUER, mint

EMAIL_UNVERIFIED = Reason("token.email_unverified", 403)


def has_verified_email(read: Mapping[str, Any]) -> bool | Reason:
    """Whether the claims say that the e-mail address is the user's."""
    return read.get("email_verified") is True or EMAIL_UNVERIFIED


def test_a_check_accepts_or_refuses() -> None:
    """True accepts a token, a reason refuses with it, and False with ``token.check_refused``."""
    scheme = bearer(issuer(check=has_verified_email))

    assert accepted_principal(scheme, mint(email_verified=True)).subject == "alice"
    assert rejection(scheme, mint()) == ("token.email_unverified", {})
    assert rejection(bearer(issuer(check=lambda read: False)), mint()) == ("token.check_refused", {})


def test_a_check_may_say_more_than_a_reason() -> None:
    """The facts of a ``Failure`` are in the record."""
    failure = Failure(EMAIL_UNVERIFIED, {"claim": "email_verified", "wanted": "True"})
    scheme = bearer(issuer(check=lambda read: failure))

    assert rejection(scheme, mint()) == ("token.email_unverified", {"claim": "email_verified", "wanted": "True"})


def test_a_refusal_names_the_proven_subject() -> None:
    """The record of such a refusal names the subject, which the signature proves."""
    result = outcome(bearer(issuer(check=has_verified_email)), mint())

    assert isinstance(result, Rejected)
    assert (result.subject, result.authenticated) == ("alice", True)


def test_a_check_is_asked_for_each_request() -> None:
    """A token that is remembered is checked again, because the answer may have changed."""
    revoked: set[str] = set()
    scheme = bearer(issuer(check=lambda read: read["sub"] not in revoked))
    token = mint()
    before = [accepted_principal(scheme, token).subject for _ in range(3)]
    revoked.add("alice")

    assert before == ["alice"] * 3
    assert rejection(scheme, token) == ("token.check_refused", {})
    revoked.clear()
    assert accepted_principal(scheme, token).subject == "alice"


def test_a_check_sees_what_nothing_else_refuses() -> None:
    """The check is not asked about a token that is refused anyway, and cannot change the claims."""
    asked: list[Mapping[str, Any]] = []

    def note(read: Mapping[str, Any]) -> bool:
        asked.append(read)
        return True

    scheme = bearer(issuer(check=note))
    for token in (mint(exp=NOW - 100), mint(aud="other"), mint(sub=...), mint()[:-8] + "AAAAAAAA"):
        assert isinstance(outcome(scheme, token), Rejected)

    assert asked == []
    accepted_principal(scheme, mint())
    with pytest.raises(TypeError):
        asked[0]["roles"] = ["root"]  # type: ignore[index]


def test_a_check_is_that_of_its_issuer() -> None:
    """The tokens of another issuer are not checked."""
    scheme = bearer(issuer(check=lambda read: False), issuer(name="https://other.example/"))

    assert accepted_principal(scheme, mint(iss="https://other.example/")).subject == "alice"
    assert rejection(scheme, mint(iss=ISSUER))[0] == "token.check_refused"


@pytest.mark.parametrize("answer", [None, 1, "yes", [], Rejected])
def test_a_forgotten_return_lets_nobody_in(answer: Any) -> None:
    """Whatever is neither True, False nor a reason raises, so that the answer is 503 and the record names the cause."""
    with pytest.raises(TypeError, match=r"check= of an issuer returned \w+; return True, False, a Reason or a Failure"):
        outcome(bearer(issuer(check=lambda read: answer)), mint())


def test_an_awaitable_is_no_answer() -> None:
    """A function that returns a coroutine raises, and the coroutine is closed."""

    async def look_up(read: Any) -> bool:
        return True

    def check(read: Any) -> Any:
        return look_up(read)

    with pytest.raises(TypeError, match="returned coroutine"):
        outcome(bearer(issuer(check=check)), mint())


async def test_an_introspected_token_is_checked_too() -> None:
    """``Introspection(check=...)`` is asked about the members of each answer."""
    codes = []
    for verified in (True, False):
        server = IntrospectionServer(active_response(email_verified=verified))
        scheme = Bearer(introspection(server, check=has_verified_email), realm="orders")
        result = await scheme.authenticate(bearer_request(), bearer_credentials(OPAQUE_TOKEN))
        codes.append(result.reason.code if isinstance(result, Rejected) else None)

    assert codes == [None, "token.email_unverified"]


async def async_check(read: Any) -> bool:
    """An async function, which no check may be."""
    return True


@pytest.mark.parametrize(
    ("check", "problem"),
    [(5, "is not a function of the claims"), (async_check, "must not be async"), (True, "function")],
)
def test_a_check_is_a_function(check: Any, problem: str) -> None:
    """Anything else raises while the app is built, for an ``Introspection`` too."""
    for build in (issuer, introspection):
        with pytest.raises(ConfigurationError, match=f"^check: .*{problem}"):
            build(check=check)
