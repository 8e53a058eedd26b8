# ruff: noqa: SLF001 - what is shown of a scheme is its configuration, which only the scheme reads
"""The checks of each scheme in the order in which it makes them, with their figures. No secret is among them.

The scheme itself decides; here is only read what it has decided about. A check names the reasons that it refuses with,
so that the reason of the decision tells which checks have passed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import sha256
from typing import Any

from authguard.explain.explanation import Step
from authguard.explain.recorded import line_of
from authguard.explain.times import clock_time, duration, time_line
from authguard.model import Moment
from authguard.records.record import Record, escape, format_value
from authguard.request import AuthRequest
from authguard.schemes.scheme import Scheme
from authguard.value_types import value
from authguard.wire.authorization import Credentials
from authguard.wire.grammar import WireError


@value
class Check:
    """One check of a scheme: what is there, what is wanted, and the reasons that it refuses with."""

    title: str
    reasons: Collection[str]
    found: str = ""
    wanted: str = ""
    line: str = ""
    claims: Collection[str] = ()

    def refuses_with(self, reason: str, facts: Mapping[str, object]) -> bool:
        """Whether this is the check that has refused. A reason about a claim is that of the check of the claim."""
        if reason in {"token.claim_missing", "token.claim_invalid"} and facts.get("claim") in _CLAIMS:
            return facts["claim"] in self.claims
        return reason in self.reasons


_CLAIMS = frozenset({"iss", "exp", "nbf", "iat", "aud"})
_OUTAGES = ("store.unavailable", "store.timeout", "backend.failed")


def steps_of_checks(
    scheme: Scheme, request: AuthRequest, credentials: Credentials, record: Record, *, accepted: bool
) -> Iterator[Step]:
    """The steps of the scheme that was asked. ``accepted``: whether it has accepted the credentials."""
    describe = next(
        (_DESCRIBED[kind.__name__] for kind in type(scheme).__mro__ if kind.__name__ in _DESCRIBED), _describe_other
    )
    checks = list(describe(scheme, request, credentials, record))
    reason = "" if accepted or record.reason is None else record.reason
    if reason == "login.required":
        reason = str(record.facts.get("cause"))
    if reason and not any(check.refuses_with(reason, record.facts) for check in checks):
        checks.append(Check(scheme.name, (reason,)))
    has_failed = False
    for check in checks:
        if has_failed:
            yield Step(check.title, "not reached", check.found, check.wanted)
            continue
        has_failed = bool(reason) and check.refuses_with(reason, record.facts)
        if has_failed:
            yield _failed(check, record)
        else:
            yield Step(check.title, "passed", check.found, check.wanted, check.line)


def _failed(check: Check, record: Record) -> Step:
    """The step that has failed. What the record says of it comes after what is known of it anyway."""
    told = [
        f"{name}={format_value(stated)}"
        for name, stated in record.facts.items()
        if name in _TOLD and stated is not None
    ]
    found = ", ".join(filter(None, [check.found, *told])) or (record.reason or "")
    return Step(check.title, "failed", found, check.wanted, check.line or line_of(record.facts))


# What a record says in words. Its other facts are what the checks show as well.
_TOLD = (
    "problem",
    "found",
    "differs_by",
    "detail",
    "cause",
    "token_has",
    "header_has",
    "iss?",
    "aud?",
    "bucket",
    "form",
)


# --- Bearer -----------------------------------------------------------------------------------------------------------


def _describe_bearer(scheme: Any, request: AuthRequest, credentials: Credentials, record: Record) -> Iterator[Check]:
    from authguard.wire import jws  # noqa: PLC0415 - an app without tokens does not import it

    issuers, raw = scheme._issuers, credentials.rest
    api_keys = issuers.api_keys
    if api_keys is not None and (issuers.takes_keys_alone or api_keys.takes(raw)):
        yield from _checks_of_key(raw, api_keys._verifier, record)
        return
    try:
        token = jws.parse(raw, scheme._limit)
    except WireError as error:
        opaque = issuers.opaque
        is_opaque = opaque is not None and not jws.is_jose(raw) and opaque.takes(raw)
        if not is_opaque:
            reasons = ("token.malformed", "token.too_long", "credentials.malformed")
            yield Check(
                "token", reasons, f"{len(raw)} bytes, which are no JWT: {error.problem}", _LIMIT % scheme._limit
            )
            return
        yield Check("token", ("token.too_long",), f"{len(raw)} bytes, opaque", _LIMIT % scheme._limit)
        yield from _checks_of_introspection(opaque, record)
        return
    header, claims = token.header, token.claims
    yield Check("token", ("token.too_long", "token.malformed"), f"a JWT of {len(raw)} bytes", _LIMIT % scheme._limit)
    iss = claims.get("iss")
    registered = issuers.find(iss if isinstance(iss, str) else None)
    wanted = issuers.wanted.wanted
    yield Check(
        "iss", ("token.issuer_unknown",), _shown(iss), wanted if isinstance(wanted, str) else " or ".join(wanted),
        claims=("iss",),
    )  # fmt: skip
    if registered is None:
        if issuers.introspection_for(iss if isinstance(iss, str) else None) is not None:
            yield from _checks_of_introspection(issuers.introspection, record)
        return
    issuer = registered.issuer
    yield Check("alg", ("token.algorithm_refused",), _shown(header.alg), " or ".join(sorted(issuer.algorithms)))
    if header.crit or header.b64:
        yield Check("crit", ("token.critical_unknown",), "crit or b64", "neither crit nor b64")
    in_header = record.reason != "token.type_refused" or record.facts.get("header") == "typ"
    type_refused = ("token.type_refused",)
    yield Check("typ", type_refused if in_header else (), _shown(header.typ), _typ(issuer.typ))
    yield Check("signature", _SIGNATURE, *_key(issuer, header))
    yield from _checks_of_times(claims, request.moment, require_exp=issuer.rules.require_exp)
    yield Check("aud", ("token.audience_mismatch",), _shown(claims.get("aud")), _audience(issuer), claims=("aud",))
    others = ("token.claim_missing", "token.claim_invalid", "token.bound")
    yield Check("other claims", others if in_header else (*others, *type_refused), _about_claims(record))
    if issuer.check is not None:
        # Its reason may be one of the app's own.
        is_own = record.facts.get("check") is not None and record.reason != "token.check_refused"
        yield Check("check", ("token.check_refused", *((record.reason or "",) if is_own else ())))
    if scheme.client_certificate is not None:
        yield Check("certificate", _CERTIFICATE, *_certificate(claims, record))


# --- DPoP -------------------------------------------------------------------------------------------------------------

_PROOF_PARSED = ("proof.malformed", "proof.type_refused", "proof.algorithm_refused", "proof.key_refused")


def _describe_dpop(scheme: Any, request: AuthRequest, credentials: Credentials, record: Record) -> Iterator[Check]:
    """The proof of the request, then the token as under Bearer, then whether the two belong together."""
    from authguard.schemes.dpop.target import target_uris  # noqa: PLC0415 - only an app with DPoP has them
    from authguard.wire.dpop_proof import base64url, parse_proof  # noqa: PLC0415

    lines = request.lines(b"dpop")
    yield Check("DPoP", ("proof.missing", "proof.ambiguous"), f"{len(lines) or 'no'} fields", "one field")
    if len(lines) != 1:
        return
    raw = lines[0].strip(b" \t")
    try:
        proof = parse_proof(raw)
    except WireError as error:
        yield Check("proof", _PROOF_PARSED, f"{len(raw)} bytes: {error.problem}", "a signed JWT with its public key")
        return
    yield Check("proof", (), f"a signed JWT of {len(raw)} bytes, with its public key")
    algorithms = " or ".join(scheme._algorithms)
    yield Check("its alg", ("proof.algorithm_refused",), _shown(proof.alg), algorithms)
    yield Check("htm", ("proof.method_mismatch",), _shown(proof.htm), request.method)
    uris = " or ".join(map(_shown, target_uris(scheme._public_urls, request.scope)))
    yield Check("htu", ("proof.uri_mismatch",), _shown(proof.htu), uris)
    yield _proof_time(scheme, proof, request.moment)
    yield from _describe_bearer(scheme, request, credentials, record)
    wanted = base64url(sha256(credentials.rest).digest())
    yield Check("ath", ("proof.token_mismatch",), _shown(proof.ath) if proof.ath else "none", wanted)
    yield Check("jkt", ("token.unbound", "token.key_mismatch"), _about_binding(record), proof.thumbprint)
    yield Check("its signature", ("proof.signature_invalid", "proof.key_refused"))
    yield Check("jti", ("proof.replayed", "proof.forgotten", *_OUTAGES), "not used before")


def _about_binding(record: Record) -> str:
    facts = record.facts if record.reason == "token.unbound" else {}
    return f"cnf={format_value(facts['cnf'])}" if "cnf" in facts else "what the token is bound to"


def _proof_time(scheme: Any, proof: Any, moment: Moment) -> Check:
    """When the proof was made: by its nonce, which is ours, or by the clock of the client."""
    from authguard.wire.nonce import Nonce  # noqa: PLC0415 - as above

    if proof.nonce is not None:
        nonce = Nonce.from_text(proof.nonce.encode("utf-8", "replace"), scheme._nonce_keys)
        reasons = ("proof.nonce_unknown", "proof.nonce_stale")
        if nonce is None:
            return Check("its nonce", reasons, "not one of ours", "one of ours")
        found = f"minted {_relative(nonce.issued_at, moment.now)}"
        return Check("its nonce", reasons, found, f"at most {duration(scheme._nonce_life)} ago")
    if scheme._require_nonce:
        return Check("its nonce", ("proof.nonce_missing",), "none", "one of ours")
    wanted = f"at most {duration(scheme._window + moment.leeway)} ago, and {duration(moment.leeway)} ahead"
    line = time_line({"iat": proof.iat, "end": proof.iat + scheme._window}, moment.now, moment.leeway)
    found = f"{clock_time(proof.iat)}, {_relative(proof.iat, moment.now)}"
    return Check("its iat", ("proof.not_yet_valid", "proof.expired"), found, wanted, line)


_CERTIFICATE = (
    *("certificate.missing", "certificate.mismatch", "certificate.invalid", "certificate.sender_refused"),
    "token.unbound",
)


def _certificate(claims: Mapping[str, Any], record: Record) -> tuple[str, str]:
    """What was found of the certificate of the client, and which one the token is bound to."""
    confirmation = claims.get("cnf")
    wanted = confirmation.get("x5t#S256") if isinstance(confirmation, dict) else None
    facts = record.facts if record.reason in _CERTIFICATE else {}
    found = facts.get("found", facts.get("problem", facts.get("sender")))
    return _shown(found), "no certificate" if wanted is None else _shown(wanted)


_LIMIT = "a JWT of at most %d bytes"
_SIGNATURE = ("token.signature_invalid", "key.unknown", "keys.unavailable", "keys.timeout", "keys.busy")


def _typ(wanted: object) -> str:
    if wanted is None:
        return "JWT, at+jwt or none"
    return wanted if isinstance(wanted, str) else " or ".join(sorted(str(name or "none") for name in wanted))  # type: ignore[attr-defined]


def _key(issuer: Any, header: Any) -> tuple[str, str]:
    """The key that the token names, and those that are known."""
    source: Any = issuer.keys
    facts = source.key_facts(header.alg) if callable(getattr(source, "key_facts", None)) else {}
    known = facts.get("known", ())
    where = f" from {facts['source']}" if facts.get("source") else ""
    found = "no kid" if header.kid is None else f"kid {_shown(header.kid)}"
    if not known or known == ("no kid",):
        return found, f"a key{where}"
    return found, f"one of {', '.join(map(_shown, known))}{where}"


def _audience(issuer: Any) -> str:
    audience = issuer.rules.audience
    return "anything" if audience is None else " or ".join(sorted(audience))


def _about_claims(record: Record) -> str:
    """The claim that is wrong, if one is."""
    names = ("claim", "cnf", "typ") if record.reason and record.reason.startswith("token.") else ()
    return ", ".join(f"{name}={format_value(record.facts[name])}" for name in names if name in record.facts)


def _checks_of_times(claims: Mapping[str, object], moment: Moment, *, require_exp: bool) -> Iterator[Check]:
    times = {name: at for name in ("iat", "nbf", "exp") if (at := _time(claims.get(name))) is not None}
    leeway = duration(moment.leeway)
    line = time_line(times, moment.now, moment.leeway) if times else ""
    wrong = [name for name in ("exp", "nbf", "iat") if name in times and _is_wrong(name, times[name], moment)]
    shown_at = next(iter(wrong), "exp" if "exp" in times else next(iter(times), ""))
    for name, reason, wanted in (
        ("exp", "token.expired", f"at most {leeway} ago"),
        ("nbf", "token.not_yet_valid", f"at most {leeway} ahead"),
        ("iat", "token.issued_in_future", f"at most {leeway} ahead"),
    ):
        if name not in claims and (name != "exp" or not require_exp):
            continue
        at = times.get(name)
        found = _shown(claims.get(name)) if at is None else f"{clock_time(at)}, {_relative(at, moment.now)}"
        yield Check(name, (reason,), found, wanted, line if name == shown_at else "", claims=(name,))


def _is_wrong(name: str, at: float, moment: Moment) -> bool:
    return moment.expired(at) if name == "exp" else moment.not_yet(at)


def _time(found: object) -> float | None:
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if is_number and -1e12 < found < 1e12 else None  # type: ignore[operator, arg-type]


def _relative(at: float, now: float) -> str:
    seconds = round(now - at, 3)
    if seconds == 0:
        return "now"
    return f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"


def _checks_of_introspection(source: Any, record: Record) -> Iterator[Check]:
    where = getattr(source, "_url", None)
    found = "a function of the app" if where is None else str(where).partition("?")[0]
    outages = ("introspection.unavailable", "introspection.timeout", "introspection.busy")
    yield Check("asked", ("token.inactive", *outages), found)
    if record.reason is not None and record.reason.startswith("token."):
        yield Check("its answer", (record.reason,), _about_claims(record))


# --- names and passwords ----------------------------------------------------------------------------------------------


def _describe_basic(scheme: Any, request: AuthRequest, credentials: Credentials, record: Record) -> Iterator[Check]:
    yield Check("user-pass", ("credentials.malformed",), "base64 of name and password")
    yield Check("attempts", ("attempts.exceeded",), _attempts(scheme, record))
    yield Check("account", ("user.unknown",), _subject(record))
    passwords = ("password.wrong", "password.empty", "password.too_long", "password.hash_unreadable", "hashing.busy")
    yield Check("password", passwords, "not shown")
    yield Check("enabled", ("account.disabled",))


def _attempts(scheme: Any, record: Record) -> str:
    if getattr(scheme, "throttle", None) is None:
        return "not counted"
    wait = record.facts.get("retry_after")
    return "one is left" if record.reason != "attempts.exceeded" else f"none is left, for {wait} s"


def _subject(record: Record) -> str:
    return "" if record.subject is None else format_value(record.subject)


def _describe_digest(scheme: Any, request: AuthRequest, credentials: Credentials, record: Record) -> Iterator[Check]:
    try:
        sent = scheme._parse(credentials.rest)
    except WireError as error:
        yield Check("parameters", ("credentials.malformed",), error.problem)
        return
    yield Check("parameters", ("credentials.malformed",))
    yield Check("realm", ("realm.foreign",), "" if sent.realm != scheme._realm else scheme.realm, scheme.realm)
    yield Check("opaque", ("opaque.foreign",))
    algorithms = " or ".join(algorithm.name for algorithm in scheme._algorithms.values())
    yield Check("algorithm", ("algorithm.unoffered",), _shown(sent.algorithm), algorithms)
    qop = _shown(sent.qop.decode("latin-1")) if sent.qop else "none"
    yield Check("qop", ("qop.unoffered",), qop, " or ".join(scheme._qop))
    yield Check("attempts", ("attempts.exceeded",), _attempts(scheme, record))
    yield Check("account", ("user.unknown",), _subject(record))
    yield Check("response", ("response.wrong", "account.disabled", "body.too_large", "body.incomplete"), "not shown")
    yield Check("uri", ("uri.mismatch",), *_uris(record))
    nonces = ("nonce.unknown", "nonce.stale", "nonce.not_yet", "nonce.forgotten", "nonce.replayed", "nonce.outside")
    yield Check("nonce", nonces, *_nonce(scheme, sent, request.moment))


def _uris(record: Record) -> tuple[str, str]:
    facts = record.facts if record.reason == "uri.mismatch" else {}
    digested, requested = (_shown(facts[name]) if name in facts else "" for name in ("digested", "requested"))
    return digested, requested or "that of the request"


def _nonce(scheme: Any, sent: Any, moment: Moment) -> tuple[str, str, str]:
    """The age of a nonce of ours, how often it was used by the client, and its life on a line."""
    from authguard.wire.nonce import Nonce  # noqa: PLC0415 - only an app with Digest has it

    service = scheme._nonce_service
    nonce = Nonce.from_text(sent.nonce, service._keys)
    used = f"use {sent.count} of it" if sent.qop else "without a count"
    wanted = f"a use that was not seen before, within {duration(service._life)}"
    if nonce is None:
        return f"none of this app, {used}", wanted, ""
    times = {"made": nonce.issued_at, "ends": nonce.issued_at + service._life}
    return f"made {_relative(nonce.issued_at, moment.now)}, {used}", wanted, time_line(times, moment.now)


# --- keys and sessions ------------------------------------------------------------------------------------------------


def _describe_api_key(scheme: Any, request: AuthRequest, credentials: Credentials, record: Record) -> Iterator[Check]:
    yield from _checks_of_key(credentials.rest, scheme._verifier, record)


def _checks_of_key(raw: bytes, verifier: Any, record: Record) -> Iterator[Check]:
    from authguard.wire.api_key import ApiKeyText  # noqa: PLC0415 - an app without API keys does not import it

    label = verifier._label
    try:
        key = ApiKeyText.parse(raw)
    except WireError as error:
        yield Check("key", ("api_key.malformed", "credentials.malformed"), error.problem, f"{label}_ID_SECRET")
        return
    yield Check("key", ("api_key.malformed",), f"{_shown(key.label)}_{key.id}_...", f"{label}_ID_SECRET")
    yield Check("id and secret", ("api_key.unknown", "attempts.exceeded"), key.id)
    facts = record.facts if record.reason and record.reason.startswith("api_key.") else {}
    found, wanted = (format_value(facts[name]) if name in facts else "" for name in ("found", "wanted"))
    is_environment = record.reason == "api_key.wrong_environment"
    yield Check(
        "environment", ("api_key.wrong_environment",), found if is_environment else "",
        wanted if is_environment else verifier._environment or "none",
    )  # fmt: skip
    yield Check("not revoked", ("api_key.revoked",), _ago(facts, "revoked_for"))
    yield Check("not expired", ("api_key.expired",), _ago(facts, "expired_by"))
    is_network = record.reason == "api_key.network_refused"
    yield Check("network", ("api_key.network_refused",), found if is_network else "", wanted if is_network else "")


def _ago(facts: Mapping[str, object], name: str) -> str:
    seconds = facts.get(name)
    return f"{duration(seconds)} ago" if isinstance(seconds, int | float) else ""


def _describe_session(scheme: Any, request: AuthRequest, credentials: Credentials, record: Record) -> Iterator[Check]:
    from authguard.schemes.session_entry import read_entry  # noqa: PLC0415 - an app without sessions does not import it

    entry = read_entry((request.scope.get("session") or {}).get(scheme.key))
    yield Check("session", ("session.malformed",), "" if entry is None else "a login of this app")
    if entry is None:
        return
    now = request.moment.now
    ends = scheme._ends(entry)
    latest = max(entry.began, entry.seen)
    yield Check(
        "begun", ("session.not_yet",), _relative(latest, now), f"at most {duration(request.moment.leeway)} ahead"
    )
    yield Check(
        "absolute",
        ("session.expired",),
        f"ends {_relative(ends, now)}",
        f"at most {duration(scheme.absolute)} after the login",
        time_line({"login": entry.began, "ends": ends}, now),
    )
    yield Check(
        "idle", ("session.idle",), f"seen {_relative(entry.seen, now)}", f"at most {duration(scheme.idle)} ago",
        time_line({"seen": entry.seen, "idle": entry.seen + scheme.idle}, now),
    )  # fmt: skip
    yield Check("not revoked", ("session.revoked",))


def _describe_other(scheme: Any, request: AuthRequest, credentials: Credentials, record: Record) -> Iterator[Check]:
    yield Check(scheme.name, ("credentials.malformed", *_OUTAGES))


def _shown(found: object) -> str:
    """A value of a client as a record shows it."""
    if found is None:
        return "none"
    if isinstance(found, list | tuple):
        return format_value(tuple(escape(str(item)) for item in found[:8]))
    return format_value(escape(found)) if isinstance(found, str) else escape(str(found))


_Describe = Callable[[Any, AuthRequest, Credentials, Record], Iterator[Check]]
_DESCRIBED: Mapping[str, _Describe] = {
    "ApiKey": _describe_api_key,
    "Basic": _describe_basic,
    "Bearer": _describe_bearer,
    "Digest": _describe_digest,
    "Dpop": _describe_dpop,
    "Session": _describe_session,
}
