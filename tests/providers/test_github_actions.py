"""``Issuer.github_actions``: OIDC tokens of workflow runs, as GitHub's OpenID Connect reference shows them."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import ConfigurationError, Issuer
from tests.support.providers import KEYS, TIMES, accepted, options, refused

WORKFLOW = "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main"
TOKEN = {
    "jti": "example-id",
    "sub": "repo:octo-org/octo-repo:environment:prod",
    "environment": "prod",
    "aud": "https://api.shop.example",
    "ref": "refs/heads/main",
    "sha": "example-sha",
    "repository": "octo-org/octo-repo",
    "repository_owner": "octo-org",
    "repository_owner_id": "65",
    "repository_id": "74",
    "actor": "octocat",
    "event_name": "workflow_dispatch",
    "job_workflow_ref": WORKFLOW,
    "iss": "https://token.actions.githubusercontent.com",
    "nbf": TIMES["iat"],
    **TIMES,
}


def github(**changes: Any) -> Issuer:
    """The issuer of these tokens."""
    defaults = {"audience": "https://api.shop.example", "repositories": ["octo-org/octo-repo"], "keys": KEYS}
    return Issuer.github_actions(**options(defaults, changes))


def test_a_run_in_a_listed_repository_is_accepted() -> None:
    """The subject is ``sub``; there are neither roles nor scopes."""
    who = accepted(github(), TOKEN)

    assert (who.subject, set(who.roles), set(who.scopes)) == ("repo:octo-org/octo-repo:environment:prod", set(), set())
    assert accepted(github(repositories=["octo-org/*"]), TOKEN).subject == who.subject


@pytest.mark.parametrize("repository", ["evil/octo-repo", "octo-org/other", "octo-org-evil/octo-repo", "octo-org", 7])
def test_runs_in_other_repositories_are_refused(repository: object) -> None:
    """Anybody on GitHub can get a token for this audience, so the repository decides."""
    code, facts = refused(github(), TOKEN, {"repository": repository})

    assert (code, facts["claim"], facts["wanted"]) == ("token.claim_invalid", "repository", ("octo-org/octo-repo",))


@pytest.mark.parametrize("repository", ["octo-org-evil/octo-repo", "octo-org", "evil/octo-org/x"])
def test_all_of_an_owner_is_nobody_elses(repository: str) -> None:
    """The name of another owner that begins in the same way is refused."""
    assert refused(github(repositories=["octo-org/*"]), TOKEN, {"repository": repository})[0] == "token.claim_invalid"


def test_a_token_without_a_repository_is_refused() -> None:
    """Without ``repository`` nobody knows where it comes from."""
    assert refused(github(), TOKEN, {"repository": ...}) == (
        "token.claim_missing",
        {"claim": "repository", "wanted": ("octo-org/octo-repo",)},
    )


@pytest.mark.parametrize(
    ("argument", "wanted", "claim", "other"),
    [
        ("owner_ids", "65", "repository_owner_id", "66"),
        ("refs", "refs/heads/main", "ref", "refs/pull/7/merge"),
        ("environments", "prod", "environment", "staging"),
        ("workflows", WORKFLOW, "job_workflow_ref", WORKFLOW.replace("main", "evil")),
    ],
)
def test_each_list_narrows_what_is_accepted(argument: str, wanted: str, claim: str, other: str) -> None:
    """The claim must be one of the list; a token without it is refused."""
    issuer = github(**{argument: [wanted]})

    assert accepted(issuer, TOKEN).subject == TOKEN["sub"]
    assert refused(issuer, TOKEN, {claim: other}) == (
        "token.claim_invalid",
        {"claim": claim, "found": other, "wanted": (wanted,)},
    )
    assert refused(issuer, TOKEN, {claim: ...}) == ("token.claim_missing", {"claim": claim, "wanted": (wanted,)})


def test_other_audiences_and_servers_are_refused() -> None:
    """A token for a cloud provider is refused, and so is one of a GitHub Enterprise Server."""
    assert refused(github(), TOKEN, {"aud": "sts.amazonaws.com"})[0] == "token.audience_mismatch"
    other = {"iss": "https://github.example.com/_services/token"}
    assert refused(github(), TOKEN, other)[0] == "token.issuer_unknown"


@pytest.mark.parametrize(
    ("changes", "issuer"),
    [
        ({}, "https://token.actions.githubusercontent.com"),
        ({"server": "github.com"}, "https://token.actions.githubusercontent.com"),
        ({"enterprise": "octo"}, "https://token.actions.githubusercontent.com/octo"),
        ({"server": "github.example.com"}, "https://github.example.com/_services/token"),
        ({"server": "octocorp.ghe.com"}, "https://token.actions.octocorp.ghe.com"),
        ({"server": "octocorp.ghe.com", "enterprise": "octocorp"}, "https://token.actions.octocorp.ghe.com/octocorp"),
    ],
)
def test_each_kind_of_github_has_an_issuer_of_its_own(changes: dict[str, str], issuer: str) -> None:
    """github.com, an enterprise with an ``iss`` of its own, a server of one's own, and an enterprise at ghe.com."""
    assert github(**changes).issuer == issuer


@pytest.mark.parametrize(
    ("argument", "value", "fix"),
    [
        ("repositories", [], "anybody on GitHub"),
        ("repositories", ["https://github.com/octo-org/octo-repo"], 'write "octo-org/shop"'),
        ("repositories", ["*/*"], 'write "octo-org/shop"'),
        ("repositories", ["octo-org"], 'or "octo-org/\\*"'),
        ("repositories", "octo-org/octo-repo", "is one string"),
        ("owner_ids", ["octo-org"], 'write "123456"'),
        ("refs", ["main"], 'write "refs/heads/main"'),
        ("refs", ["refs/heads/*"], 'write "refs/heads/main"'),
        ("refs", [], "the list is empty"),
        ("environments", [], "the list is empty"),
        ("workflows", ["oidc.yml"], 'write "octo-org/shared/.github/workflows/deploy.yml@refs/heads/main"'),
        ("server", "https://github.example.com", 'write "github.example.com"'),
        ("enterprise", "https://github.com/enterprises/octo", 'write "octo-enterprise"'),
    ],
)
def test_arguments_are_checked(argument: str, value: Any, fix: str) -> None:
    """What GitHub never writes into a claim is refused, with what to write."""
    with pytest.raises(ConfigurationError, match=fix) as caught:
        github(**{argument: value})

    assert caught.value.argument == argument
