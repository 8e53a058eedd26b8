"""What each reason means, and what to do about it: the table behind ``explain``.

``docs/reasons.md`` has the same texts, and a test compares them. Advice has parts: a part is shown if the facts of the
refusal fit it, and the page has all parts one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Literal, TypeAlias

from authguard import reasons
from authguard.reasons import Reason
from authguard.value_types import frozen

#: Whether a fact says what was found, or what would have been accepted; "" for any other fact.
FactKind: TypeAlias = Literal["found", "wanted", ""]


@frozen
class FactMeaning:
    """What a fact of a record says. ``kind``: whether it was found or wanted."""

    text: str
    kind: FactKind = ""


@frozen
class Part:
    """Some sentences of advice. ``fact``: the fact that must be there, or must not (``absent``); "" for always.

    ``value`` is what the fact must be; None is any value.
    """

    text: str
    fact: str = ""
    value: object = None
    absent: bool = False

    def fits(self, facts: Mapping[str, object]) -> bool:
        """Whether these sentences are about a refusal with these facts."""
        if not self.fact:
            return True
        stated = facts.get(self.fact)
        is_there = stated is not None if self.value is None else stated == self.value
        return is_there is not self.absent


@frozen
class Advice:
    """What a reason means, and what to do. The texts have code in backquotes, as Markdown has.

    - ``cause``: what has happened.
    - ``parts``: what to do.
    - ``facts``: what the facts of this reason say, by their names. ``GENERAL_FACTS`` has those of all reasons.
    """

    cause: str
    parts: Sequence[Part]
    facts: Mapping[str, FactMeaning] = field(default_factory=dict)

    def text(self, facts: Mapping[str, object]) -> str:
        """What to do about a refusal with these facts."""
        text = " ".join(part.text for part in self.parts if part.fits(facts))
        shown = text.removeprefix("Otherwise ")  # the part before it is not shown
        return shown[:1].upper() + shown[1:]

    def meaning(self, fact: str) -> FactMeaning:
        """What a fact says. The text is "" for a fact of the app's own."""
        return self.facts.get(fact) or GENERAL_FACTS.get(fact) or _UNKNOWN


def advice_for(reason: str) -> Advice:
    """The advice for the code of a reason. There is one for all reasons that are not of this package."""
    return ADVICE.get(reason) or _OF_THE_APP


_UNKNOWN = FactMeaning("")


def fact(text: str) -> FactMeaning:
    """A fact that is neither found nor wanted."""
    return FactMeaning(text)


def found(text: str) -> FactMeaning:
    """A fact that says what was found."""
    return FactMeaning(text, "found")


def wanted(text: str) -> FactMeaning:
    """A fact that says what would have been accepted."""
    return FactMeaning(text, "wanted")


def when(text: str, fact: str, value: object = None) -> Part:
    """A part for refusals that have a fact."""
    return Part(text, fact, value)


def unless(text: str, fact: str, value: object = None) -> Part:
    """A part for refusals that do not have a fact."""
    return Part(text, fact, value, absent=True)


def _of(reason: Reason, cause: str, /, *parts: str | Part, **facts: FactMeaning) -> tuple[str, Advice]:
    told = tuple(part if isinstance(part, Part) else Part(part) for part in parts)
    return reason.code, Advice(cause, told, MappingProxyType(facts))


#: What the facts say that mean the same for every reason.
GENERAL_FACTS: Mapping[str, FactMeaning] = MappingProxyType(
    {
        "problem": found("what is wrong, in words"),
        "wanted": wanted("what would have been accepted"),
        "token": fact("the first 8 hexadecimal digits of the token's SHA-256, to find the same token elsewhere"),
        "requirement": wanted("what the rule requires"),
        "missing": wanted("what of it the principal does not have"),
        "offered": found("what the principal has of that kind"),
        "found": found(
            "what is there in place of what was wanted: its kind, such as `a number`, or a word of a fixed list"
        ),
        "differs_by": found("how the two differ, if they are alike"),
        "iss?": found(
            "the issuer and the API that a token with an invalid signature names. Nothing has proven them. They "
            "are left out if the app accepts no others"
        ),
        "aud?": found(
            "the issuer and the API that a token with an invalid signature names. Nothing has proven them. They "
            "are left out if the app accepts no others"
        ),
        "issuer": found("the issuer of the token, as the app has written it"),
        "signature": fact(
            "`unchecked`, if the token was refused before its signature was verified, because no key could have "
            "made it good"
        ),
        "websocket": fact("what the client of a WebSocket sees, if the server cannot send the status"),
        "unchecked": fact(
            'which stores could not answer, such as `nonces` or `revocations`, while `on_outage="allow"` let the '
            "request pass"
        ),
        "open_for": fact("after how many seconds an open WebSocket or response was ended with its credentials"),
    }
)

_OF_THE_APP = Advice(
    "The app has refused the request for a reason of its own.",
    (
        Part("Search the code of the app for this reason: a check, a scheme or an endpoint gives it."),
        when("`check` is the function that has.", "check"),
    ),
    MappingProxyType({"check": found("the function that has refused the request")}),
)

_TABLE = (
    _of(
        reasons.CREDENTIALS_MISSING,
        "The request has no credentials, or none that could be found where the schemes look.",
        unless(
            "The client must send `Authorization`, as the challenge in the response says. If it does, a proxy on the "
            "way removes the field: look for `proxy_set_header Authorization` in nginx, and set "
            "`WSGIPassAuthorization On` in Apache.",
            "preflight",
        ),
        when(
            "With `found_in`, it sends them where no scheme looks: a query ends up in logs and histories, so "
            "move them to `Authorization`. A proxy that logs users in sends their token in a field of its "
            'own: read it with `Bearer(..., carrier=Header("Cf-Access-Jwt-Assertion", '
            "sent_by_browsers=True))`, and close every other way to the app.",
            "found_in",
        ),
        when(
            "With `preflight`, add `CORSMiddleware` last.",
            "preflight",
        ),
        when(
            "With `tls`, redirects of the app lead to `http:`, where clients leave `Authorization` out: let "
            "the server read `X-Forwarded-Proto` (uvicorn: `--proxy-headers --forwarded-allow-ips`).",
            "tls",
        ),
        found_in=found("query parameters and fields that seem to hold credentials, by name"),
        preflight=found("a browser asks what a script may send, which it does without credentials"),
        tls=found("a proxy says that the client used `https`, and the server says `http`"),
    ),
    _of(
        reasons.CREDENTIALS_MALFORMED,
        "The credentials are for a scheme of the route and cannot be read.",
        when(
            "With `joined`, let one hop set the field, and let it replace what is there.",
            "joined",
        ),
        unless(
            "Otherwise the client builds the field wrongly: `problem` says how. A line feed in a password "
            "comes from `echo` without `-n`. Digest clients without `qop`, names and passwords in "
            "ISO-8859-1, and base64 in another spelling are read by name.",
            "joined",
        ),
        found=found("the parameter, the control character or the spelling of base64 that is wrong"),
        joined=found("how many credentials are in the one field"),
        all_equal=found("whether all of them are the same"),
    ),
    _of(
        reasons.CREDENTIALS_AMBIGUOUS,
        "The request has two sets of credentials. Which of them counts would be a guess, so neither does.",
        when(
            "If the lines are the same, a proxy or a sidecar has doubled them: let it replace the field.",
            "all_equal",
            True,
        ),
        unless(
            "Otherwise let the client send one set.",
            "all_equal",
            True,
        ),
        when(
            "A second cookie of the name was set for another path or by another host of the domain: remove "
            "it in the browser, and call the cookie `__Host-...`, which no other host can set.",
            "cookie",
        ),
        field=found("the field"),
        field_lines=found("how many lines of that field"),
        all_equal=found("whether all of them are the same"),
        presented=found("the schemes, in order"),
        carriers=found("the fields that they came in, in the same order"),
        cookie=found("the name of the cookie, and how many of that name there are"),
        cookies=found("the name of the cookie, and how many of that name there are"),
    ),
    _of(
        reasons.CREDENTIALS_EXPIRED,
        "The credentials were good when the request came, and ended while it waited for a store or a check, "
        "or while a WebSocket was open.",
        "The client gets new credentials and tries again. If it happens often, something that the request "
        "waits for is slow.",
        expired_by=found("how long ago they ended"),
        leeway=wanted("at most this"),
        while_waiting=found("the request had to wait"),
    ),
    _of(
        reasons.HEADER_TOO_LONG,
        "A field with credentials is too long.",
        "For long tokens, set `Bearer(limit=)`, and the limit of the server. Otherwise find out what sends so much.",
        field=found("the field"),
        octets=found("its length in bytes"),
        limit=wanted("at most this"),
    ),
    _of(
        reasons.SCHEME_UNSUPPORTED,
        "The credentials are for a scheme that the route does not accept.",
        "The client must use one of `wanted`, or the rule must accept the scheme.",
        when(
            "`a JWT without Bearer before it` means that the word is missing: `Authorization: Bearer eyJ...`.",
            "presented",
            "a JWT without Bearer before it",
        ),
        presented=found("the scheme, if it is a registered word; any other word may be a secret"),
    ),
    _of(
        reasons.BODY_TOO_LARGE,
        "A scheme that verifies the body, such as Digest with `auth-int`, has stopped reading it.",
        "Raise `limit=` of the scheme, or send less.",
        when(
            "With `problem`, let a rule close the route, so that the body is verified before the app reads it.",
            "problem",
        ),
        octets=found("how many bytes were read"),
        limit=wanted("at most this"),
    ),
    _of(
        reasons.BODY_INCOMPLETE,
        "The client went away before the body was complete, or a WebSocket was asked for one.",
        "Nothing, if it is rare. Otherwise look at the time-outs of the proxies.",
        octets=found("how many bytes had come"),
    ),
    _of(
        reasons.PATH_AMBIGUOUS,
        "The path can be read in two ways, so the guard and the app could read two different paths.",
        "Let the client send a plain path. If `problem` names `root_path` or a mount, see mounted apps.",
    ),
    _of(
        reasons.METHOD_UNLISTED,
        "Rules name the path, and none of them the method. The caller is authenticated; an anonymous one "
        "gets `credentials.missing`.",
        "Add the method to a rule, or a rule without `methods=` for all others.",
        rule=found("the pattern of these rules"),
        listed=wanted("the methods that they list; `WEBSOCKET` is a handshake"),
        method_sent=found("the method, if it is none that a rule names or that is registered"),
    ),
    _of(
        reasons.TOKEN_MALFORMED,
        "The token is no JWT in its strict form: three parts in base64url, without padding.",
        unless(
            "If your tokens are opaque, list `Introspection(...)`. A token in five parts is encrypted: Auth0 "
            "gives one to a client that names no `audience`. A part that cannot be read has been changed or "
            "cut off on the way.",
            "found",
        ),
        when(
            "With a word in `found`, the client has no token: look at where it gets it.",
            "found",
        ),
        found=found("the part that cannot be read, or a word such as undefined that a program sends without a token"),
    ),
    _of(
        reasons.TOKEN_TOO_LONG,
        "The token is longer than the scheme takes.",
        "Set `Bearer(limit=)`, or put less into the token.",
        octets=found("its length in bytes"),
        limit=wanted("at most this"),
    ),
    _of(
        reasons.TOKEN_ALGORITHM_REFUSED,
        "The token is signed with an algorithm that its issuer is not configured for.",
        "If the issuer has changed its algorithm, name it in `algorithms=`. Never list one that you do not "
        "expect. `EdDSA` and `Ed25519` are two names for one algorithm: list the one that the tokens say.",
        algorithm=found("`alg` in the header"),
    ),
    _of(
        reasons.TOKEN_CRITICAL_UNKNOWN,
        "The header has `crit` or `b64`: extensions that must be understood.",
        "Tell the issuer to leave them out.",
        header=found("which of the two"),
    ),
    _of(
        reasons.TOKEN_TYPE_REFUSED,
        "The token says that it is of another type: an ID token, a refresh token, a logout token.",
        "Send the access token. If the issuer writes a type of its own, set `typ=`. ID tokens are accepted "
        "by name, with `id_tokens=True`; refresh tokens never.",
        header=found("the member of the header that says it; `claim`, if a claim does"),
        typ=found("the type"),
    ),
    _of(
        reasons.TOKEN_SIGNATURE_INVALID,
        "None of the issuer's keys has made the signature.",
        when(
            "With `aud?`, which is not this API, the client sends a token for another one: Microsoft's have "
            "a `nonce` in the header, and nobody but that API can verify them.",
            "aud?",
        ),
        unless(
            "Otherwise the keys are of another environment or were replaced: use `RemoteJWKS` or "
            "`Issuer.discover`, which fetch new ones. A secret that is base64 must be decoded before "
            "`Secret(...)`. A signature of another length was cut off, or was made with another key; DER is "
            "what OpenSSL and key services write.",
            "aud?",
        ),
        algorithm=found("`alg` in the header"),
        header_has=found(
            "members of the header that explain it; `jwk`, `jku`, `x5c` and `x5u` are keys that the token "
            "brings itself, which are never used"
        ),
    ),
    _of(
        reasons.TOKEN_ISSUER_UNKNOWN,
        "No issuer of the scheme has this name.",
        "If it is your issuer, copy `issuer` into `Issuer(...)`, where it counts character by character; "
        "list both if it has two spellings.",
        when(
            "If `differs_by` is `its host`, the login server builds `iss` from the address at which it is "
            "asked (Keycloak: set the `hostname`).",
            "differs_by",
            "its host",
        ),
        when(
            "Add a tenant to `tenants=` if it may come in.",
            "tenant",
        ),
        issuer=found("`iss` in the token"),
        tenant=found("the part of `iss` for which the template has the name of a claim"),
    ),
    _of(
        reasons.TOKEN_AUDIENCE_MISMATCH,
        "The token is for another API.",
        "Let the client ask for a token for this API, or name the audience in `audience=`. If `audience` is "
        "the name of the client, the client asked for no API, or sends its ID token. Keycloak writes "
        "`account` until the client has an audience mapper.",
        audience=found("`aud` in the token"),
    ),
    _of(
        reasons.TOKEN_CLAIM_MISSING,
        "A claim that the token must have is missing.",
        "Let the issuer add it. If it never does, there is an option: `require_exp=`, `NO_ISSUER`, "
        '`ANY_AUDIENCE`, and `subject=[claim("sub"), claim("client_id")]` for clients without users.',
        claim=wanted("the claim"),
        token_has=found("other claims that may be meant"),
        names_a_user=found("a claim by which the token is of a user, so that it cannot be of its client"),
        not_used=found("the claim of the client, which was not taken for the user"),
    ),
    _of(
        reasons.TOKEN_CLAIM_INVALID,
        "A claim is of the wrong type or form.",
        "Let the issuer write it as RFC 7519 says: times are seconds, not milliseconds, not in quotes, and "
        "not a date. A subject that is a number is accepted by name, with `numeric_subject=True`.",
        claim=found("the claim"),
    ),
    _of(
        reasons.TOKEN_EXPIRED,
        "The token has ended.",
        "Nothing: the client gets a new one. If many end at once, compare the clocks.",
        expired_by=found("how long ago"),
        leeway=wanted("at most this"),
    ),
    _of(
        reasons.TOKEN_NOT_YET_VALID,
        "The token is not valid yet.",
        "Compare the clocks of the issuer and of this server.",
        when(
            "A difference of whole or half hours is a local time that was written as UTC: Python's "
            "`datetime.utcnow().timestamp()` does that.",
            "differs_by",
        ),
        valid_in=found("when it will be valid"),
        leeway=wanted("at most this"),
    ),
    _of(
        reasons.TOKEN_ISSUED_IN_FUTURE,
        "The token was made in the future.",
        "Compare the clocks of the issuer and of this server.",
        when(
            "A difference of whole or half hours is a local time that was written as UTC.",
            "differs_by",
        ),
        issued_in=found("by how much"),
        leeway=wanted("at most this"),
    ),
    _of(
        reasons.TOKEN_BOUND,
        "The token is bound to a key of the client (`cnf`), and the scheme checks no proof of that key.",
        "Let the client ask for a token that is not bound, or use a scheme that checks the proof: `Dpop` for `jkt`, "
        "`client_certificate=` for `x5t#S256`. All members of `cnf` must be checked.",
        cnf=found("the members of `cnf`, which say how"),
    ),
    _of(
        reasons.TOKEN_UNBOUND,
        "The token is not bound to a key of the client, and the scheme accepts no other tokens.",
        "The authorization server must bind it. For DPoP, its `cnf` needs `jkt`, the thumbprint of the key of the "
        "client; the server binds it if the client sends a proof with the request for the token. For mutual TLS, it "
        "needs `x5t#S256`, and the client must use its certificate with that request. A token for everybody goes under "
        "a `Bearer` that does not require it.",
        cnf=found("the members of `cnf`"),
    ),
    _of(
        reasons.TOKEN_KEY_MISMATCH,
        "The token is bound to another key than that of the proof.",
        "A client that has made a new key needs a new token. If no client has, the token may have been stolen.",
    ),
    _of(
        reasons.CERTIFICATE_MISSING,
        "The token is bound to a certificate of the client, and the request came without one.",
        "The client must use its certificate with each request, and with no other key than for the token. If it does, "
        "the proxy does not ask for it (nginx: `ssl_verify_client`), or does not pass it on in this header.",
        found=found("what there was in its place"),
    ),
    _of(
        reasons.CERTIFICATE_MISMATCH,
        "The token is bound to another certificate than that of the request.",
        "A client that has a new certificate needs a new token. If no client has, the token may have been stolen. If "
        "all clients are refused with one `found`, it is the certificate of a proxy between them and TLS.",
        found=found("the SHA-256 of the certificate of the request, in base64url"),
    ),
    _of(
        reasons.CERTIFICATE_INVALID,
        "The certificate of the request cannot be read.",
        "Compare what the proxy sends with `format=`: `rfc9440` is base64 between colons, `pem` is PEM, "
        "percent-encoded or not, `base64` is DER in base64. The proxy must replace what a client sends in this "
        "header; two lines, or two values with a comma, mean that it adds its own.",
        header=found("the header"),
        problem=found("what is wrong"),
    ),
    _of(
        reasons.CERTIFICATE_SENDER_REFUSED,
        "A header with a certificate came from somebody that `trusted=` does not name.",
        "If the sender is your proxy, name it. Otherwise somebody reaches the app past the proxy, and writes the "
        "header: close that way.",
        when(
            "The server may have replaced the address by that in a forwarded field. Let the proxy reach the app by a "
            "Unix socket, or switch that off (uvicorn: `--no-proxy-headers`).",
            "differs_by",
        ),
        header=found("the header"),
        sender=found("who has sent it"),
    ),
    _of(
        reasons.TOKEN_CHECK_REFUSED,
        "The `check=` of the issuer did not return True.",
        "Look at your function. One that returns a `Reason`, or a `Failure` with facts, says more than False.",
        check=found("your function, with file and line"),
    ),
    _of(
        reasons.TOKEN_INACTIVE,
        "The introspection endpoint says that the token is not active, or the function of a `TokenLookup` "
        "does not know it.",
        "The client gets a new token. If it is a new one, the endpoint may know only tokens of its own "
        'environment, or tells only the client that a token is for: RFC 7662 lets it say "not active" for '
        "all of that.",
        endpoint=found("who was asked"),
    ),
    _of(
        reasons.TOKEN_REVOKED,
        "The token was revoked by its `jti`.",
        "The client gets a new token. If it was revoked because it had leaked, that may be whoever found it.",
        jti=found("the id of the token"),
    ),
    _of(
        reasons.KEY_UNKNOWN,
        "The issuer publishes no key of this name and algorithm.",
        "If the issuer has just changed its keys, wait for the next fetch. Otherwise compare `known` with "
        "the key set of the issuer, and `source` with its `jwks_uri`: one of them is of another environment.",
        when(
            "With `skipped`, its key may be in the set and not be used: a WARNING says why.",
            "skipped",
        ),
        kid=found("`kid` in the header"),
        algorithm=found("`alg` in the header"),
        known=wanted("the ids of the keys for this algorithm, six at most"),
        source=found("where these keys are from"),
        keys_age=found("how old they are"),
        skipped=found("how many keys of the set cannot be used"),
    ),
    _of(
        reasons.PROOF_MISSING,
        "The token came without a proof.",
        "The client sends a field `DPoP` with each request. If it does, a proxy removes it.",
    ),
    _of(
        reasons.PROOF_AMBIGUOUS,
        "The request has several fields `DPoP`.",
        "The client must send one. A proxy may send a field twice.",
        fields=found("how many there are"),
    ),
    _of(
        reasons.PROOF_MALFORMED,
        "The proof is no signed JWT, or lacks a claim that each proof has.",
        "Use a library for DPoP at the client. A proof has `jti`, `htm`, `htu` and `iat` (RFC 9449 section 4.2).",
    ),
    _of(
        reasons.PROOF_TYPE_REFUSED,
        "The proof has another `typ` than `dpop+jwt`.",
        "The client may have sent another token as its proof. Use a library for DPoP at the client.",
    ),
    _of(
        reasons.PROOF_ALGORITHM_REFUSED,
        "The proof is signed with an algorithm that is not accepted.",
        "The challenge lists the algorithms in `algs`. If this one is asymmetric and you want it, name it in "
        "`algorithms=`.",
        algorithm=found("`alg` in the header"),
    ),
    _of(
        reasons.PROOF_KEY_REFUSED,
        "The key in the proof is no public key for the algorithm, or one that is not accepted.",
        "The client must put its public key into the header, and nothing else: no private members. An RSA key has "
        "2,048 to 4,096 bits.",
        algorithm=found("`alg` in the header"),
    ),
    _of(
        reasons.PROOF_SIGNATURE_INVALID,
        "The key in the proof has not signed it.",
        "The proof was changed on its way, or the client signs with another key than the one it sends.",
        algorithm=found("`alg` in the header"),
    ),
    _of(
        reasons.PROOF_METHOD_MISMATCH,
        "The proof is for another method.",
        "The client must make a proof for each request. A proxy or a method override may have changed the method.",
        htm=found("the method in the proof"),
    ),
    _of(
        reasons.PROOF_URI_MISMATCH,
        "The proof is for another URI.",
        "Compare `htu` with `wanted`. If the host or a prefix of the path differs, add what clients use to "
        "`public_url=`. If it is a host that is not yours, somebody passes on the proofs that were made for another "
        "site.",
        htu=found("the URI in the proof, without query and fragment"),
    ),
    _of(
        reasons.PROOF_EXPIRED,
        "The proof is too old.",
        "The client must make a proof for each request. If it does, its clock is behind: `require_nonce=True` makes "
        "the clock of the client unimportant.",
        expired_by=found("how long ago it ended, without the leeway"),
        window=wanted("how long a proof is good after its `iat`"),
        leeway=wanted("at most this in addition"),
    ),
    _of(
        reasons.PROOF_NOT_YET_VALID,
        "The proof is from the future.",
        "The clock of the client is ahead. `require_nonce=True` makes it unimportant.",
        early_by=found("by how much `iat` is in the future"),
        leeway=wanted("at most this"),
    ),
    _of(
        reasons.PROOF_TOKEN_MISMATCH,
        "The proof was made for another token, or for none.",
        "The client must put the hash of its token into the proof, as `ath`.",
    ),
    _of(
        reasons.PROOF_REPLAYED,
        "The proof was used before.",
        "The client must make a proof for each request, also for one that it repeats. If it does, somebody has "
        "recorded a request and sends it again.",
    ),
    _of(
        reasons.PROOF_NONCE_MISSING,
        "The proof has no nonce, and this guard requires one.",
        "Nothing, if the client repeats the request with the nonce of the answer, in `DPoP-Nonce`. A script of another "
        'origin can read that field only if CORS names it: `expose_headers=["DPoP-Nonce", "WWW-Authenticate"]`.',
    ),
    _of(
        reasons.PROOF_NONCE_STALE,
        "The nonce in the proof has ended.",
        "Nothing, if the client repeats the request with the nonce of the answer.",
        expired_by=found("how long ago it ended"),
        life=wanted("how long a nonce is good"),
    ),
    _of(
        reasons.PROOF_NONCE_UNKNOWN,
        "The nonce in the proof is not one of this guard.",
        "Nothing, if the client repeats the request with the nonce of the answer. If that happens again and again, the "
        "processes have different secrets, or the client sends the nonce of the authorization server.",
    ),
    _of(
        reasons.PROOF_FORGOTTEN,
        "The store of proofs may have forgotten whether this one was used.",
        "Nothing, if the client repeats the request with the nonce of the answer. It happens in the first minutes "
        "after a start, and if the store is full.",
    ),
    _of(
        reasons.USER_UNKNOWN,
        "No account has this name.",
        unless(
            "Look for the name in the store.",
            "userhash",
        ),
        when(
            "With `userhash`, look for the realm: the hash is of name and realm together.",
            "userhash",
        ),
        userhash=found("the name was sent as a hash, and no account has a name with this hash"),
    ),
    _of(
        reasons.PASSWORD_WRONG,
        "The password is wrong.",
        "Nothing, if it is rare. Many in a row are guesses, or a client that keeps an old password.",
    ),
    _of(
        reasons.PASSWORD_EMPTY,
        "The password is empty.",
        "Let the client send one. Accounts with an empty password, and API keys as the name, are accepted by name.",
    ),
    _of(
        reasons.PASSWORD_TOO_LONG,
        "The password is longer than the format of its hash takes: 72 bytes for bcrypt.",
        "Choose a shorter password, or hash with argon2.",
    ),
    _of(
        reasons.PASSWORD_HASH_UNREADABLE,
        "The stored hash has a format that is not supported or not allowed. It is logged at ERROR; another "
        "line, once, says what is wrong with it.",
        "Set a new password for this account, or name the format in `allow=`.",
    ),
    _of(
        reasons.ACCOUNT_DISABLED,
        "The password is right, and the account is disabled.",
        "Enable the account, or nothing.",
    ),
    _of(
        reasons.SUBJECT_REVOKED,
        "Everything was revoked that was issued to this subject until some time.",
        "Log in again. A token that was renewed after the revocation comes from a login before it, as its "
        "`auth_time` says.",
        when(
            "With `problem`, let the issuer send `iat`.",
            "problem",
        ),
        issued_before=found("how many seconds before that time the credentials were issued, or their login was"),
        problem=found("they have neither `iat` nor `auth_time`, so they may be older than that time"),
    ),
    _of(
        reasons.ATTEMPTS_EXCEEDED,
        "There were too many failed logins.",
        "Wait. A client that causes this all the time has kept an old password. If all clients have one "
        "address, let the server trust its proxy.",
        bucket=found("what is used up: the attempts of this account and network, of the account, or of the network"),
        retry_after=wanted("to wait this many seconds"),
        refused=found("why an API key would be refused, without the throttle"),
        key=found("the id of the API key"),
    ),
    _of(
        reasons.API_KEY_MALFORMED,
        "What was sent is no key of this app: it has another form, its checksum is wrong, or it begins with "
        "another prefix. Nothing was looked up.",
        unless(
            "Copy the whole key again.",
            "wanted",
        ),
        when(
            "With another prefix, it is a key of another service.",
            "wanted",
        ),
    ),
    _of(
        reasons.API_KEY_UNKNOWN,
        "No key has this id, or the key with this id has another secret.",
        "Look for the id among the keys of this app. If it is there, see whether `pepper` is the one that "
        "the key was made with. If it is not, the key was removed, or belongs to another installation.",
        key=found("the id of the key"),
    ),
    _of(
        reasons.API_KEY_EXPIRED,
        "The key has expired. The `code` in the response is `expired`.",
        unless(
            "Make a new key.",
            "successor",
        ),
        when(
            "With `successor`, the client still uses the old key of a rotation: give it the new one.",
            "successor",
        ),
        key=found("the id of the key"),
        name=found("the name of the key"),
        expired_by=found("how many seconds ago"),
        successor=wanted("the id of the key that has replaced it"),
    ),
    _of(
        reasons.API_KEY_REVOKED,
        "The key was revoked.",
        "Find out who still uses it. If it was revoked because it had leaked, that may be whoever found it.",
        key=found("the id of the key"),
        name=found("the name of the key"),
        revoked_for=found(
            "how many seconds ago; left out if the revocations of the guard name the key, and not the store of the keys"
        ),
    ),
    _of(
        reasons.API_KEY_NETWORK_REFUSED,
        "The key may only be used from some networks, and the client's address is in none of them.",
        "If it is the owner, add the network to the key. If all clients have one address, let the server "
        "trust its proxy. If it is somebody else, revoke the key.",
        key=found("the id of the key"),
        name=found("the name of the key"),
    ),
    _of(
        reasons.API_KEY_WRONG_ENVIRONMENT,
        "The key is of another environment than the app, such as a test key in production.",
        "Configure the client with a key of this environment. If the key is in this app's store as well, "
        "remove it there.",
        key=found("the id of the key"),
        name=found("the name of the key, if this app has it too"),
    ),
    _of(
        reasons.RESPONSE_WRONG,
        "The digest does not match the password and the request.",
        "The password is wrong; or a proxy has changed the method, or the client computes with another realm "
        "or algorithm than it sends.",
    ),
    _of(
        reasons.REALM_FOREIGN,
        "The digest is for another realm.",
        "The client has kept a challenge of another server at this address, or its realm is written out and "
        "wrong. It must take the realm from the challenge. What it has sent is not shown, because it may be "
        "anything.",
    ),
    _of(
        reasons.OPAQUE_FOREIGN,
        "`opaque` is not that of the challenge.",
        "Clients that leave it out are accepted by name.",
        missing=found("the client sent none"),
    ),
    _of(
        reasons.ALGORITHM_UNOFFERED,
        "The digest is of an algorithm that was not offered. A client that names none means MD5.",
        "If the client can do no better, name the algorithm in `algorithms=`.",
        algorithm=found("the algorithm"),
    ),
    _of(
        reasons.QOP_UNOFFERED,
        "The digest is of a `qop` that was not offered.",
        "Name it in `qop=`, if you want it.",
        qop=found("the `qop`"),
    ),
    _of(
        reasons.URI_MISMATCH,
        "The digest is right, but for another host, path or query than those of the request.",
        when(
            "Follow `hint`: a proxy changes the path.",
            "hint",
        ),
        when(
            "If the host differs, set `public_authority=`.",
            "differs_in",
            "authority",
        ),
        when(
            "A query is private, so it is not shown. Clients that leave it out are accepted by name.",
            "differs_in",
            "query",
        ),
        differs_in=fact("the difference: `authority`, `path` or `query`"),
        digested=found("the host or the path that the client has computed with"),
        requested=wanted("the host or the path that has arrived here"),
        hint=fact("what to set"),
    ),
    _of(
        reasons.NONCE_UNKNOWN,
        "None of the secrets has made the nonce.",
        "If it happens all the time, the processes have different secrets: set the same `secret=` in all of them.",
        form=found("whose form the nonce has"),
    ),
    _of(
        reasons.NONCE_STALE,
        "The nonce is too old.",
        "Nothing: the client tries again by itself. To see it less often, raise `life=`.",
        expired_by=found("how long ago it ended"),
        life=wanted("it is good for this long"),
    ),
    _of(
        reasons.NONCE_NOT_YET,
        "The nonce is from the future.",
        "Compare the clocks of your hosts.",
        early_by=found("by how much"),
        leeway=wanted("at most this"),
    ),
    _of(
        reasons.NONCE_FORGOTTEN,
        "The nonce is older than this process, or than its memory.",
        "Nothing, after a restart. If it happens all the time, requests of one client reach several "
        "processes: share a `nonces=` store.",
        count=found("how often the client has used it"),
        age=found("how old it is"),
    ),
    _of(
        reasons.NONCE_REPLAYED,
        "The response was used before.",
        "If it is no attack, a proxy repeats requests, or a client does not count.",
        count=found("the count that was used"),
    ),
    _of(
        reasons.NONCE_OUTSIDE,
        "The count of the nonce is far below the highest one.",
        "A request was on its way for very long, or it is a replay.",
        count=found("the count"),
    ),
    _of(
        reasons.SESSION_MALFORMED,
        "The session has something else where the login stands.",
        "Write nothing under this key, or give `Session` another one. The session was emptied.",
        key=found("the key in the session, `Session(key=)`"),
    ),
    _of(
        reasons.SESSION_NOT_YET,
        "The session is from the future by more than the leeway: the clock went back, or that of another "
        "host is ahead.",
        "Set the clocks of all hosts by NTP. The session is kept.",
        begins_in=found("in how many seconds"),
        leeway=wanted("how many seconds are tolerated"),
        session=fact("which session"),
    ),
    _of(
        reasons.SESSION_IDLE,
        "Nothing was noted of this session for longer than `idle`. The `code` in the response is `expired`.",
        "The user logs in again. If that is too often, raise `Session(idle=)`.",
        idle_by=found("how many seconds ago the session ended"),
        idle=wanted("how long a session may be idle"),
        session=fact("which session"),
    ),
    _of(
        reasons.SESSION_EXPIRED,
        "The login is older than `absolute`, or the principal has expired. The `code` in the response is `expired`.",
        "The user logs in again. If that is too often, raise `Session(absolute=)`.",
        expired_by=found("how many seconds ago"),
        absolute=wanted("the longest time of a session"),
        session=fact("which session"),
    ),
    _of(
        reasons.SESSION_REVOKED,
        "Somebody has logged out of this session, and this is a copy of its cookie. Or it was revoked, and "
        "this is a token of it.",
        "Once is a page that was open in another window. Again and again, somebody else may have the cookie.",
        session=fact("which session"),
    ),
    _of(
        reasons.LOGIN_REQUIRED,
        "A browser opens a page, and is sent to the login page of `Session(login_url=)`.",
        "Nothing, if the user gets in after the login. A user who is sent there again and again has a cookie "
        "that the browser does not keep: `https_only=True` over plain HTTP, or a session of over 4,096 bytes.",
        cause=found("the reason without a login page. The other facts are those of that reason"),
        idle_by=found("how many seconds ago the session ended"),
        idle=wanted("how long a session may be idle"),
        session=fact("which session"),
    ),
    _of(
        reasons.ROLE_MISSING,
        "The principal does not have the role.",
        "Give the role to the account.",
        when(
            'If the token has it, read it from there: `roles=claim("realm_access", "roles")`. A path is '
            "a list of names and not a text with dots. For a list of objects, write a function of the claims.",
            "read",
        ),
        read=found("where the roles of the token were looked for"),
        token_has=found("other claims of this token in which issuers write roles"),
    ),
    _of(
        reasons.SCOPE_MISSING,
        "The token does not have the scope.",
        "Let the client ask for a token with this scope. The challenge names it.",
        when(
            'If the token has it in another claim, read it from there: `scopes=claim("scp")`.',
            "read",
        ),
        read=found("where the scopes of the token were looked for"),
        token_has=found("other claims of this token in which issuers write scopes"),
    ),
    _of(
        reasons.SCHEME_INSUFFICIENT,
        "The principal was authenticated by another scheme, in an outer guard or by a lock before.",
        "Use a scheme of `missing`. Where the credentials themselves are refused, the reason is `scheme.unsupported`.",
    ),
    _of(
        reasons.CHECK_REFUSED,
        "A `predicate(...)` did not return True.",
        unless(
            "If the function is right, nothing: it does not allow this principal.",
            "returned",
        ),
        when(
            "With `returned`, the function is at fault: it must return True or False.",
            "returned",
        ),
        returned=found("the type of what it returned, if that is not False"),
    ),
    _of(
        reasons.CHECK_FAILED,
        "A `predicate(...)` raised. It is logged at ERROR.",
        "Correct the function: `problem` has its file and line.",
        raised=found("the exception"),
    ),
    _of(
        reasons.ORIGIN_FOREIGN,
        "A page of another origin made a browser send the request, and browsers add these credentials by themselves.",
        'If the page is yours, list it: `origins=["https://app.example"]`. If `host` is the name of an '
        "internal server, let the proxy pass `Host` on. Origin: null says why a page should not hide its "
        "origin from its own site.",
        origin=found("`Origin`"),
        sec_fetch_site=found("what the browser says of the page; where it is sent, it decides"),
        host=wanted("`Origin` must name this `Host`"),
        origins=wanted("or one of these, of `origins=`"),
        hint=fact("what to set, if the page hides its origin"),
    ),
    _of(
        reasons.REQUIREMENT_UNMET,
        "No part of an `any_of(...)` is met.",
        "Give the principal one of `missing`.",
    ),
    _of(
        reasons.STEP_UP_REQUIRED,
        "The route needs a stronger or fresher login (RFC 9470).",
        "The client sends its user to log in again, as the challenge says. If `acr` or `auth_age` is "
        "`absent`, the issuer does not tell it.",
        acr_values=wanted("one of these classes"),
        acr=found("the class of this login"),
        max_age=wanted("a login of at most so many seconds ago"),
        auth_age=found("how long ago the login was"),
    ),
    _of(
        reasons.KEYS_UNAVAILABLE,
        "The key server of the issuer cannot be reached, or its answer cannot be used.",
        "Look at the server in `detail`, and at the network in between.",
        when(
            "If the metadata name another issuer, copy its name into `Issuer.discover(...)`.",
            "issuer",
        ),
        when(
            "If they name a `jwks_uri` with `http`, the login server does not know that it is behind TLS: "
            "set its public URL. `insecure_http=True` is for a network that you trust.",
            "jwks_uri",
        ),
        when(
            "A certificate of an authority of your own, and a proxy on the way, need `client=`.",
            "cause",
        ),
        detail=found("which server, and what happened"),
        metadata=found("the answer of each URL at which the metadata may be"),
        issuer=found("whom the metadata name"),
        jwks_uri=found("where the metadata say that the keys are"),
        location=found("where it redirects to"),
        cause=found("why the connection failed, in the words of the system or of OpenSSL"),
        unusable=found("why each key of the set is not used"),
        retry_after=fact("when it is tried again, in seconds"),
    ),
    _of(
        reasons.KEYS_TIMEOUT,
        "The key source took too long.",
        "Look at the key source. Raise `deadline=` only if it is right that it is slow.",
        detail=found("which source, and after how long"),
    ),
    _of(
        reasons.KEYS_BUSY,
        "No key in memory fits, and no fetch may start now: too many tokens with unknown keys came from this network.",
        "Nothing: it ends by itself. If not, find the client that sends tokens with invented keys.",
        kid=found("`kid` in the header"),
        algorithm=found("`alg` in the header"),
        known=found("the ids of the keys for this algorithm"),
        source=found("where these keys are from"),
        fetches_left=found("how many fetches may start now"),
        keys_age=found("how old the keys are"),
        retry_after=fact("when the client may try again, in seconds"),
    ),
    _of(
        reasons.INTROSPECTION_UNAVAILABLE,
        "The introspection endpoint failed on this token.",
        "Look at the endpoint in `detail`.",
        when(
            "With a `hint`, its status has usual causes.",
            "hint",
        ),
        when(
            "A certificate of an authority of your own needs `client=`.",
            "cause",
        ),
        detail=found("which endpoint, and what happened"),
        endpoint_status=found("the status of its answer"),
        cause=found("why the connection failed, in the words of the system or of OpenSSL"),
        hint=fact("what to do about it"),
    ),
    _of(
        reasons.INTROSPECTION_TIMEOUT,
        "The introspection endpoint took too long.",
        "Look at the endpoint. Raise `deadline=` only if it is right that it is slow.",
        detail=found("which endpoint, and after how long"),
    ),
    _of(
        reasons.INTROSPECTION_BUSY,
        "Too many tokens wait for the introspection endpoint.",
        "If it is no attack, the endpoint is too slow for so many tokens.",
        detail=found("how many"),
        retry_after=fact("when the client may try again, in seconds"),
    ),
    _of(
        reasons.STORE_UNAVAILABLE,
        "A store of accounts, nonces or attempts cannot answer.",
        'Look at the store in `detail`. A store of your own raises `BackendUnavailable("which server, and what")`.',
        detail=found("what the store said of it"),
        error=fact("the exception and where it was raised, if the store said nothing"),
        frames=fact("the exception and where it was raised, if the store said nothing"),
        retry_after=fact("when the client may try again, in seconds"),
    ),
    _of(
        reasons.STORE_TIMEOUT,
        "A store or a check of the app took too long.",
        "Look at the function. Raise `deadline=` only if it is right that it is slow.",
        detail=found("which function, and after how long"),
    ),
    _of(
        reasons.HASHING_BUSY,
        "Too many passwords wait to be hashed, or the next one would take too long.",
        "If it is no attack, raise `threads=`, or let clients send tokens.",
        detail=found("which of the two"),
    ),
    _of(
        reasons.BACKEND_FAILED,
        "A scheme, a store or a check of the app raised, or returned the wrong thing.",
        "Correct the function that `problem` or the last of `frames` names.",
        error=found("the exception"),
        frames=found("where it was raised, the last lines"),
    ),
)

#: The advice for each reason of this package, by its code.
ADVICE: Mapping[str, Advice] = MappingProxyType(dict(_TABLE))
