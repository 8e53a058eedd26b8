"""Map the claims of a verified token to a principal: which claims hold its subject, its roles and its scopes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from inspect import iscoroutine
from itertools import islice
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, cast

from authguard.app_code import plain_function, shown, wrong_answer
from authguard.difference import kind_of
from authguard.errors import ConfigurationError, WrongAnswer
from authguard.model import NO_FACTS, Accepted, Facts, Failure, Moment, Outcome, Principal, Rejected
from authguard.reasons import (
    TOKEN_AUDIENCE_MISMATCH,
    TOKEN_CHECK_REFUSED,
    TOKEN_CLAIM_MISSING,
    TOKEN_EXPIRED,
    TOKEN_ISSUED_IN_FUTURE,
    TOKEN_NOT_YET_VALID,
    Reason,
)
from authguard.schemes.bearer.claims import (
    NO_CONFIRMATIONS,
    ClaimRules,
    Claims,
    invalid_claim,
    leeway_used,
    missing_claim,
)
from authguard.validation import check_flag
from authguard.value_types import frozen


@frozen
class ClaimPath:
    """The path to a claim: its name, or the names from the outermost object to it. A dot is part of a name."""

    path: tuple[str, ...]

    def get(self, claims: Claims) -> object:
        """The value; None if a step is missing or is not an object."""
        if len(self.path) == 1:
            return claims.get(self.path[0])
        value: Any = claims
        try:
            for name in self.path:
                value = value.get(name)
        except AttributeError:  # of the JSON types, only an object has `get`
            return None
        return value

    def __str__(self) -> str:
        return f"claim({', '.join(map(repr, self.path))})"


Source: TypeAlias = ClaimPath | Callable[[Claims], Iterable[str]]


def claim(*path: str) -> ClaimPath:
    """A claim by its name: ``claim("roles")``, or ``claim("realm_access", "roles")`` for one inside another."""
    if not path or not all(isinstance(name, str) and name for name in path):
        raise ConfigurationError("claim", f'{path!r} is not a path of names; write claim("realm_access", "roles")')
    return ClaimPath(path)


def check_sources(argument: str, value: Source | Sequence[Source]) -> tuple[Source, ...]:
    """One source or several, as a tuple. Raises ``ConfigurationError`` for anything else, such as a bare string."""
    sources: tuple[object, ...] = (
        (value,)
        if isinstance(value, ClaimPath | str) or callable(value) or not isinstance(value, Iterable)
        else tuple(value)
    )
    for source in sources:
        if not isinstance(source, ClaimPath) and not callable(source):
            raise ConfigurationError(argument, f"{source!r} is not a source; write {_as_claim(source)} or a function")
        if callable(source):
            plain_function(argument, source, "function(claims)", {})
    return cast("tuple[Source, ...]", sources)


def _as_claim(source: object) -> str:
    if not isinstance(source, str):
        return "claim(...)"
    # A namespaced claim, such as https://shop.example/roles, is one name, whatever dots it has.
    path = [source] if "/" in source or ":" in source else source.split(".")
    return f"claim({', '.join(json.dumps(name) for name in path)})"


def collect_names(sources: Sequence[Source], claims: Claims, *, split: bool) -> frozenset[str]:
    """The roles or the scopes of a token: the union of all sources.

    A list gives its strings. A string is one name, or with ``split`` several, separated by spaces only (RFC 6749
    section 3.3). A claim that is missing or has another type gives none.
    """
    if len(sources) == 1 and isinstance(sources[0], ClaimPath):  # nearly always
        value = sources[0].get(claims)
        if isinstance(value, str):
            return _words(value) if split else _distinct((value,))
        if not isinstance(value, list):
            return _NO_NAMES
        try:
            return _distinct(tuple(value))
        except TypeError:  # the list contains something other than strings
            return _strings(value)
    names: list[Any] = []
    for source in sources:
        if not isinstance(source, ClaimPath):
            names += _checked_names(source, source(claims))
            continue
        value = source.get(claims)
        if isinstance(value, list):
            names += value
        elif isinstance(value, str):
            names += value.split(" ") if split else (value,)
    return _strings(names)


_NO_NAMES: frozenset[str] = frozenset()


def _strings(names: Iterable[object]) -> frozenset[str]:
    return frozenset(name for name in names if isinstance(name, str) and name.strip())


# The tokens of an issuer have few different sets of roles and scopes. Only claims with a valid signature come here.
# Many or long names are not kept, so that the memory has a bound in bytes.
@lru_cache(1024)
def _cached_distinct(names: tuple[object, ...]) -> frozenset[str]:
    return _strings(names)


def _distinct(names: tuple[object, ...]) -> frozenset[str]:
    is_short = len(names) <= _MAX_CACHED and sum(map(len, cast("tuple[str, ...]", names))) <= _MAX_CACHED_TEXT
    return _cached_distinct(names) if is_short else _strings(names)


@lru_cache(1024)
def _cached_words(text: str) -> frozenset[str]:
    return _strings(text.split(" "))


def _words(text: str) -> frozenset[str]:
    return _cached_words(text) if len(text) <= _MAX_CACHED_TEXT else _strings(text.split(" "))


#: Of how many names, and of how many characters together, a set is kept.
_MAX_CACHED, _MAX_CACHED_TEXT = 32, 512


def _checked_names(function: object, value: Iterable[str]) -> Sequence[str]:
    if isinstance(value, str):
        raise WrongAnswer(f"{shown(function)} returned one string; return a set of them")
    if not isinstance(value, Iterable):
        raise wrong_answer(function, value, "a set of strings")
    names = tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise WrongAnswer(f"{shown(function)} returned something other than strings; return a set of them")
    return names


# --- why a token has no names -----------------------------------------------------------------------------------------

#: What ``found_at`` says of a claim that is not there.
ABSENT = "absent"
# Where issuers write roles and scopes. Keycloak: realm_access and resource_access. Microsoft: scp, roles, groups.
# Amazon Cognito: cognito:groups. Okta: scp. Auth0: permissions. Spring: authorities.
_USUAL_ROLES = (
    ClaimPath(("realm_access", "roles")),
    *(ClaimPath((name,)) for name in ("roles", "role", "groups", "group", "permissions", "authorities")),
    *(ClaimPath((name,)) for name in ("cognito:groups", "wids")),
)
_USUAL_SCOPES = tuple(ClaimPath((name,)) for name in ("scope", "scp", "scopes", "permissions"))
_USUAL_ENDS = ("/roles", "/role", "/groups", "/permissions", ":roles")
_MAX_PLACES, _MAX_CLAIMS = 8, 64


def found_at(path: ClaimPath, claims: Claims) -> str:
    """What the claims have at a path, without its value: ``absent``, or of what kind it is."""
    value: object = claims
    for number, name in enumerate(path.path):
        if not isinstance(value, Mapping):
            return f"{'.'.join(path.path[:number])} is {kind_of(value)}"
        if name not in value:
            return f"{'.'.join(path.path[:number])} has no {name}" if number else ABSENT
        value = value[name]
    return kind_of(value)


def why_no_names(sources: Sequence[Source], claims: Claims, *, split: bool) -> Facts:
    """Why the claims of a principal give it no roles, or with ``split`` no scopes; no facts if they give it some.

    ``read``: the claims that were read. ``found``: what is there. ``token_has``: other claims, as ``claim(...)``, that
    may be meant: those in which issuers write roles and scopes, and the names of a path that has dots in one name.
    """
    paths = [source for source in sources if isinstance(source, ClaimPath)]
    if collect_names(paths, claims, split=split):
        return NO_FACTS
    read = tuple(str(source) if isinstance(source, ClaimPath) else shown(source) for source in sources)
    found = tuple(
        found_at(source, claims) if isinstance(source, ClaimPath) else "it gave no name" for source in sources
    )
    facts: dict[str, object] = (
        {"read": read, "found": found} if len(read) != 1 else {"read": read[0], "found": found[0]}
    )
    # Most of the places are not there, and a principal without roles may send many requests.
    others = dict.fromkeys(
        place
        for place in _places(paths, claims, scopes=split)
        if place.path[0] in claims and collect_names((place,), claims, split=split)
    )
    return {**facts, "token_has": tuple(map(str, others))[:_MAX_PLACES]} if others else facts


def _places(paths: Sequence[ClaimPath], claims: Claims, *, scopes: bool) -> Iterator[ClaimPath]:
    """Where the names may be instead."""
    for path in paths:
        joined = ".".join(path.path)
        if len(path.path) > 1:
            yield ClaimPath((joined,))
        dotted = tuple(joined.split("."))
        if dotted != path.path and all(dotted):
            yield ClaimPath(dotted)
    if scopes:
        yield from _USUAL_SCOPES
        return
    yield from _USUAL_ROLES
    clients = claims.get("resource_access")
    for client in islice(clients, _MAX_PLACES) if isinstance(clients, dict) else ():
        yield ClaimPath(("resource_access", client, "roles"))
    for name in islice(claims, _MAX_CLAIMS):
        if name.endswith(_USUAL_ENDS):
            yield ClaimPath((name,))


# --- the subject ------------------------------------------------------------------------------------------------------

#: Where the subject of a token is: a claim, or a function of the claims that returns None if they name nobody.
SubjectSource: TypeAlias = ClaimPath | Callable[[Claims], str | None]

# Claims that name the client a token was issued to. Tokens of users have them too.
_CLIENT_CLAIMS = frozenset({("client_id",), ("azp",), ("cid",), ("appid",), ("clientId",)})
# Claims that name a user, or whoever else is the subject of the token.
_USER_CLAIMS = ("sub", "username", "preferred_username", "email", "upn", "unique_name", "user_id", "uid")
_MAX_NUMBER = 2**63


@frozen
class SubjectSources:
    """Where the subject of a token is, if that is more than one claim that holds a string.

    The first of the ``sources`` that is present and not empty is the subject. ``numeric``: whether a claim may hold a
    whole number; 42 and "42" are then the same subject.
    """

    sources: tuple[SubjectSource, ...]
    numeric: bool = False

    def get(self, claims: Claims) -> str | Failure:
        """The subject of a token with a valid signature, or why it has none."""
        for number, source in enumerate(self.sources):
            if not isinstance(source, ClaimPath):
                value: object = source(claims)
                if value is not None and not isinstance(value, str):
                    raise WrongAnswer(f"{shown(source)} returned neither a string nor None")
            else:
                value = source.get(claims)
                if self.numeric and type(value) is int and -_MAX_NUMBER <= value < _MAX_NUMBER:
                    value = str(value)
            if value is None or value == "":
                continue
            if not isinstance(value, str):
                return invalid_claim(_name_of(source), value, "a string that is not empty")
            if number and source_is_client(source) and (user := _user_claim(claims, value)):
                facts = {"claim": _name_of(self.sources[0]), "names_a_user": user, "not_used": _name_of(source)}
                return Failure(TOKEN_CLAIM_MISSING, facts)
            return value
        return _missing_subject(self.sources, claims)

    def get_unverified(self, claims: Claims) -> str | Failure:
        """The same for claims that are not to be shown to a function of the app, which gives an empty subject."""
        if all(isinstance(source, ClaimPath) for source in self.sources):
            return self.get(claims)
        return ""

    def is_number(self, claims: Claims, subject: str) -> bool:
        """Whether this subject is a number in the claims."""
        values = (source.get(claims) for source in self.sources if isinstance(source, ClaimPath))
        return self.numeric and any(type(value) is int and str(value) == subject for value in values)


def check_subject(value: SubjectSource | Sequence[SubjectSource], *, numeric: bool) -> ClaimPath | SubjectSources:
    """The argument ``subject``. Raises ``ConfigurationError``."""
    sources = check_sources("subject", cast("Source", value))
    if not sources:
        raise ConfigurationError("subject", 'the list is empty; write claim("sub")')
    clients = [source_is_client(cast("SubjectSource", source)) for source in sources]
    if True in clients and not all(clients[clients.index(True) :]):
        raise ConfigurationError(
            "subject",
            f"{sources[clients.index(True)]} must come last: tokens of users have it too, and each user would become "
            "the client",
        )
    if len(sources) == 1 and isinstance(sources[0], ClaimPath) and not check_flag("numeric_subject", numeric):
        return sources[0]
    return SubjectSources(cast("tuple[SubjectSource, ...]", sources), check_flag("numeric_subject", numeric))


def source_is_client(source: SubjectSource) -> bool:
    """Whether it is a claim that names the client a token was issued to."""
    return isinstance(source, ClaimPath) and source.path in _CLIENT_CLAIMS


def _user_claim(claims: Claims, client: str) -> str | None:
    """The claim that names somebody else than this client, if there is one: a user must not become its client."""
    return next((name for name in _USER_CLAIMS if claims.get(name) not in (None, "", client)), None)


def _name_of(source: SubjectSource) -> str:
    return ".".join(source.path) if isinstance(source, ClaimPath) else getattr(source, "__name__", "a function")


# --- a check of the issuer's own --------------------------------------------------------------------------------------

#: Whether a token is accepted, by its claims: True, False, the ``Reason`` of the refusal, or a ``Failure`` with facts.
ClaimCheck: TypeAlias = Callable[[Claims], "bool | Reason | Failure"]


def check_claim_check(check: ClaimCheck | None) -> ClaimCheck | None:
    """The argument ``check``. Raises ``ConfigurationError``."""
    if check is not None:
        if not callable(check):
            raise ConfigurationError("check", f"{check!r} is not a function of the claims that returns True or False")
        plain_function("check", check, "check(claims)", {})
    return check


def check_failure(check: ClaimCheck, claims: Claims) -> Failure | None:
    """Why the check refuses the token. Only True accepts it, so that a forgotten ``return`` does not.

    The facts name the check, unless it gives facts of its own.
    """
    answer = check(MappingProxyType(claims) if isinstance(claims, dict) else claims)
    if answer is True:
        return None
    if answer is False:
        return Failure(TOKEN_CHECK_REFUSED, {"check": shown(check)})
    if isinstance(answer, Failure):
        return answer
    if isinstance(answer, Reason):
        return Failure(answer, {"check": shown(check)})
    if iscoroutine(answer):
        answer.close()
    kind = type(answer).__name__
    raise WrongAnswer(f"{shown(check)}: check= of an issuer returned {kind}; return True, False, a Reason or a Failure")


#: The name of the Bearer scheme, which is also the ``scheme`` of its principals.
BEARER = "bearer"


class ClaimMapping(Protocol):
    """The claim rules of an issuer, and where its tokens hold the subject, the roles and the scopes."""

    @property
    def issuer(self) -> str | None: ...
    @property
    def rules(self) -> ClaimRules: ...
    @property
    def subject(self) -> ClaimPath | SubjectSources: ...
    @property
    def check(self) -> ClaimCheck | None: ...
    @property
    def roles(self) -> tuple[Source, ...]: ...
    @property
    def scopes(self) -> tuple[Source, ...]: ...


def outcome_from_claims(
    token: bytes,
    claims: Claims,
    mapping: ClaimMapping,
    moment: Moment,
    read_claims: Callable[[], Claims] | None = None,
    digest: bytes = b"",
    *,
    confirmations: AbstractSet[str] = NO_CONFIRMATIONS,
) -> Outcome:
    """Check the claims of a verified token, and map them to a principal. ``token`` is only hashed, for the record,
    unless ``digest`` is its SHA-256.

    ``read_claims`` makes the claims for each request that reads them; without it, each gets a copy of ``claims``.
    ``confirmations``: the members of ``cnf`` that the caller checks.
    """
    is_plain = mapping.rules.is_plain(claims, moment)
    failure = None if is_plain else mapping.rules.failure(claims, moment, confirmations=confirmations)
    source = mapping.subject
    if failure is not None:
        subject = source.get_unverified(claims) if isinstance(source, SubjectSources) else source.get(claims)
        failed = _facts_of(failure, mapping, token, digest)
        return Rejected(failure.reason, string_or_none(subject), failed, authenticated=True)
    subject = source.get(claims)
    if not isinstance(subject, str) or not subject:
        failure = _invalid_subject(subject, source, claims)
        return Rejected(failure.reason, None, _facts_of(failure, mapping, token, digest))
    if mapping.check is not None and (failure := check_failure(mapping.check, claims)) is not None:
        failed = _facts_of(failure, mapping, token, digest)
        return Rejected(failure.reason, subject, failed, authenticated=True)
    principal = Principal.checked(
        subject,
        collect_names(mapping.roles, claims, split=False),
        collect_names(mapping.scopes, claims, split=True),
        claims if read_claims is None else read_claims,
        cast("float | None", claims.get("exp")),  # the rules have checked its type
        BEARER,
    )
    used: Facts = NO_FACTS if is_plain else leeway_used(claims, moment)
    if isinstance(source, SubjectSources) and source.is_number(claims, subject):
        used = tolerating(used, "subject", "a number")
    return Accepted(principal, (), used)


def _facts_of(failure: Failure, mapping: ClaimMapping, token: bytes, digest: bytes) -> Facts:
    """The facts of a failure, with the fingerprint of the token. Where issuers differ, as their clocks do, the issuer
    is named as the app has written it.
    """
    facts = {**failure.facts, "token": token_fingerprint(token, digest)}
    if mapping.issuer is not None and failure.reason in _BY_ISSUER:
        facts["issuer"] = mapping.issuer
    return facts


#: The reasons whose records name the issuer: those about its clock, and about the API that it makes tokens for.
_BY_ISSUER = frozenset({TOKEN_EXPIRED, TOKEN_NOT_YET_VALID, TOKEN_ISSUED_IN_FUTURE, TOKEN_AUDIENCE_MISMATCH})


def tolerating(facts: Facts, name: str, what: str) -> Facts:
    """The facts of an accepted token, with something more that was tolerated."""
    return {**facts, "tolerated": {**cast("Facts", facts.get("tolerated", {})), name: what}}


def subject_failure(claims: Claims, mapping: ClaimMapping) -> Failure | None:
    """Why claims without a valid signature name no subject; None if they name one, or if a function must say."""
    source = mapping.subject
    if isinstance(source, SubjectSources):
        found = source.get_unverified(claims)
        return found if isinstance(found, Failure) else None
    subject = source.get(claims)
    return None if isinstance(subject, str) and subject else _invalid_subject(subject, source, claims)


def _invalid_subject(subject: object, source: ClaimPath | SubjectSources, claims: Claims) -> Failure:
    if isinstance(subject, Failure):
        return subject
    path = cast("ClaimPath", source)
    if subject is None:
        return _missing_subject((path,), claims)
    return invalid_claim(_name_of(path), subject, "a string that is not empty")


def _missing_subject(sources: Sequence[SubjectSource], claims: Claims) -> Failure:
    """The failure for claims that hold nothing where the subject should be. It names other claims that may hold it."""
    paths = [source for source in sources if isinstance(source, ClaimPath)]
    failure = missing_claim("sub", claims)
    facts: dict[str, object] = {**failure.facts, "claim": " or ".join(map(_name_of, sources))}
    if len(paths) == 1 and (found := found_at(paths[0], claims)) != ABSENT:
        facts["found"] = found
    return Failure(failure.reason, facts)


def token_fingerprint(token: bytes, digest: bytes = b"") -> str:
    """How a log names a token: the first 8 hex digits of its SHA-256, which is ``digest`` where it is known."""
    return (digest or hashlib.sha256(token).digest())[:4].hex()


def string_or_none(value: object) -> str | None:
    """The value if it is a string."""
    return value if isinstance(value, str) else None
