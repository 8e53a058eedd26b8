"""The outcome that is kept with an account: for whom it holds, and that nobody sees it."""

from __future__ import annotations

import copy
import dataclasses
import pickle

from authguard.accounts.account import Account, accepted_login
from authguard.model import Accepted, Principal


def alice() -> Account:
    """An account of which everything is given."""
    return Account("alice", "$fast$wonderland", roles={"admin"}, scopes={"read"}, claims={"mail": "a@example.org"})


def test_the_outcome_has_everything_of_the_account() -> None:
    """The principal has its subject, roles, scopes and claims, and the name of the scheme."""
    accepted = accepted_login(alice(), "basic")

    assert accepted == Accepted(Principal("alice", roles={"admin"}, scopes={"read"}, scheme="basic"))
    assert accepted.principal.claims == {"mail": "a@example.org"}


def test_the_outcome_is_kept_for_one_scheme() -> None:
    """Two schemes may share a store. Each gets principals with its own name."""
    account = alice()

    outcomes = [accepted_login(account, scheme) for scheme in ("basic", "basic", "other", "basic")]

    assert outcomes[0] is outcomes[1]
    assert [outcome.principal.scheme for outcome in outcomes] == ["basic", "basic", "other", "basic"]


def test_nobody_sees_that_an_outcome_is_kept() -> None:
    """It is not part of the value: not of its text, nor of a comparison, nor of a copy."""
    account, other = alice(), alice()
    before = repr(account), hash(account), pickle.dumps(account)
    accepted = accepted_login(account, "basic")

    assert (repr(account), hash(account), pickle.dumps(account)) == before
    assert account == other
    for made in (copy.copy(account), copy.deepcopy(account), pickle.loads(before[2]), dataclasses.replace(account)):
        assert made == account
        assert accepted_login(made, "basic") is not accepted


def test_the_principal_of_an_account_without_claims_can_be_pickled() -> None:
    """The default of an account is a read-only mapping, which cannot."""
    principal = accepted_login(Account("bob", "$fast$builder"), "basic").principal

    assert pickle.loads(pickle.dumps(principal)) == principal
    assert principal.claims == {}


def test_nothing_is_kept_with_an_account_of_another_class() -> None:
    """Its roles may change while it lives."""

    class Member(Account):
        pass

    member = Member("carol", "$fast$x", roles={"reader"})
    before = accepted_login(member, "basic")
    object.__setattr__(member, "roles", frozenset({"writer"}))

    assert before.principal.roles == {"reader"}
    assert accepted_login(member, "basic").principal.roles == {"writer"}
