"""GitHub Actions: the OIDC tokens of workflow runs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from authguard.errors import ConfigurationError
from authguard.model import Failure
from authguard.providers.arguments import check_host, check_listed, check_word
from authguard.providers.token_profile import ClaimRule, Claims, TokenProfile, require_one_of
from authguard.reasons import TOKEN_CLAIM_INVALID, TOKEN_CLAIM_MISSING
from authguard.validation import names

_REPOSITORY = re.compile(r"([A-Za-z0-9_-]+)/(\*|[A-Za-z0-9._-]+)")
_NUMBER = re.compile(r"[0-9]+")
_REF = re.compile(r"refs/[^\s*]+")
_WORKFLOW = re.compile(r"[^\s/@*]+/[^\s@*]+@[^\s*]+")
_ENTERPRISE = re.compile(r"[A-Za-z0-9_-]+")
_ANY = re.compile(r".+")
_NO_WORKFLOW = 'is not a workflow at a ref; write "octo-org/shared/.github/workflows/deploy.yml@refs/heads/main"'
_EMPTY = "so no run could log in; leave it out to accept every one"


def github_actions(
    repositories: Iterable[str],
    owner_ids: Iterable[str] | None,
    refs: Iterable[str] | None,
    environments: Iterable[str] | None,
    workflows: Iterable[str] | None,
    server: str | None,
    enterprise: str | None,
) -> TokenProfile:
    """The tokens of runs in these repositories. Anybody on GitHub can get a token for any audience, so they are listed.

    Each further list narrows what is accepted. ``owner_ids``: the numbers of the owners; the name of an account can be
    taken over by somebody else, and its number cannot.
    """
    rules: list[ClaimRule] = [_require_repository(_check_repositories(repositories))]
    listed = check_listed("owner_ids", owner_ids, _EMPTY)
    for number in listed or ():
        check_word("owner_ids", number, _NUMBER, 'is not the number of an account; write "123456"')
    if listed is not None:
        rules.append(require_one_of(("repository_owner_id",), listed))
    for argument, claim, value, pattern, problem in (
        ("refs", "ref", refs, _REF, 'is not a whole ref; write "refs/heads/main"'),
        ("environments", "environment", environments, _ANY, "is not the name of an environment"),
        ("workflows", "job_workflow_ref", workflows, _WORKFLOW, _NO_WORKFLOW),
    ):
        wanted = check_listed(argument, value, _EMPTY)
        for text in wanted or ():
            check_word(argument, text, pattern, problem)
        if wanted is not None:
            rules.append(require_one_of((claim,), wanted))
    # Where the keys are is documented for no server; the metadata say it.
    return TokenProfile((_issuer(server, enterprise),), None, rules=tuple(rules))


def _issuer(server: str | None, enterprise: str | None) -> str:
    host = "github.com" if server is None else check_host("server", server, example="github.example.com")
    if host == "github.com":
        issuer = "https://token.actions.githubusercontent.com"
    elif host.endswith(".ghe.com"):
        issuer = f"https://token.actions.{host}"
    else:
        issuer = f"https://{host}/_services/token"
    if enterprise is None:
        return issuer
    problem = 'is not the short name of an enterprise, as it is in its URL; write "octo-enterprise"'
    return f"{issuer}/{check_word('enterprise', enterprise, _ENTERPRISE, problem)}"


def _check_repositories(value: Iterable[str]) -> frozenset[str]:
    listed = names("repositories", value)
    if not listed:
        raise ConfigurationError(
            "repositories", "the list is empty; anybody on GitHub can get a token for any audience"
        )
    for name in listed:
        problem = 'is not the name of a repository; write "octo-org/shop", or "octo-org/*" for all of an owner'
        check_word("repositories", name, _REPOSITORY, problem)
    return listed


def _require_repository(listed: frozenset[str]) -> ClaimRule:
    owners = tuple(name.removesuffix("*") for name in listed if name.endswith("/*"))
    wanted = tuple(sorted(listed))

    def rule(claims: Claims) -> Failure | None:
        found = claims.get("repository")
        if isinstance(found, str) and (found in listed or found.startswith(owners)):
            return None
        if found is None:
            return Failure(TOKEN_CLAIM_MISSING, {"claim": "repository", "wanted": wanted})
        shown = found if isinstance(found, str) else type(found).__name__
        return Failure(TOKEN_CLAIM_INVALID, {"claim": "repository", "found": shown, "wanted": wanted})

    return rule
