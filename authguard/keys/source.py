"""``KeySource``, the interface of a source of verification keys, and ``VerificationKey``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from inspect import signature
from typing import Any, Protocol, runtime_checkable

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from authguard.app_code import async_function
from authguard.errors import ConfigurationError, InvalidSignature
from authguard.keys.signatures import ALGORITHMS, Verify, verify_with
from authguard.value_types import frozen

#: ``VerificationKey.cost`` by curve, measured with OpenSSL 3.
MAX_CURVE_COST = 20
_CURVE_COSTS = {"secp256r1": 4, "secp384r1": 16, "secp521r1": MAX_CURVE_COST, "secp256k1": 14}


def check_algorithms(algorithms: Iterable[str]) -> frozenset[str]:
    """The algorithms as a set (RFC 8725 section 3.1).

    Raises ``ConfigurationError`` for a bare string, an unknown name and ``none``, and for HMAC together with public-key
    algorithms: an attacker could then use a public key as the HMAC secret.
    """
    if isinstance(algorithms, str):
        raise ConfigurationError("algorithms", f'{algorithms!r} is one string; write ["{algorithms}"]')
    listed = tuple(algorithms) if isinstance(algorithms, Iterable) else (None,)
    if not all(isinstance(name, str) for name in listed):
        raise ConfigurationError("algorithms", 'give a list of names, such as ["RS256"]')
    names = frozenset(map(str, listed))
    if not names:
        raise ConfigurationError("algorithms", 'the list is empty; name what your issuer signs with, such as ["RS256"]')
    for name in names:
        if name not in ALGORITHMS:
            raise ConfigurationError("algorithms", f"{name!r} is not one of {', '.join(sorted(ALGORITHMS))}")
    if 0 < sum(name.startswith("HS") for name in names) < len(names):
        raise ConfigurationError(
            "algorithms",
            "HMAC (HS...) and public-key algorithms must not be mixed for one issuer and one source; write "
            'keys={"HS256": Secret(...), "ES256": RemoteJWKS(url)}',
        )
    return names


@frozen
class VerificationKey:
    """A key bound to the one algorithm that it verifies (RFC 8725 section 3.1)."""

    algorithm: str
    kid: str | None
    #: A key as PyJWT prepares it: a public key of ``cryptography``, or an HMAC secret as bytes.
    material: Any = field(repr=False, hash=False)
    #: The member ``issuer`` of its JWK: the only ``iss`` that it signs for, among the tenants of one provider.
    issuer: str | None = field(default=None, repr=False)
    #: Made with the first signature.
    _verify: Verify | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def cost(self) -> int:
        """How long one verification takes, in units of one with an RSA key of 2048 bits, which takes about 25 µs."""
        match self.material:
            case rsa.RSAPublicKey() as key:
                return max(1, (key.key_size // 1024) ** 2 // 4)
            case ec.EllipticCurvePublicKey() as key:
                return _CURVE_COSTS.get(key.curve.name, MAX_CURVE_COST)
            case ed25519.Ed25519PublicKey():
                return 5
            case ed448.Ed448PublicKey():
                return 8
            case bytes():
                return 0
            case _:  # from a source of the app
                return MAX_CURVE_COST

    @property
    def signature_length(self) -> int | None:
        """How many bytes its signatures have; None if that is not known."""
        match self.material:
            case rsa.RSAPublicKey() as key:
                return (key.key_size + 7) // 8
            case ec.EllipticCurvePublicKey() as key:
                return 2 * ((key.curve.key_size + 7) // 8)
            case ed25519.Ed25519PublicKey():
                return 64
            case ed448.Ed448PublicKey():
                return 114
            case bytes() if self.algorithm[2:].isdecimal():
                return int(self.algorithm[2:]) // 8
            case _:  # from a source of the app
                return None

    def verify(self, signing_input: bytes, signature: bytes) -> None:
        """Return if the signature is valid. Raises ``InvalidSignature`` if it is not."""
        verify = self._verify
        if verify is None:
            verify = verify_with(self.algorithm, self.material)
            object.__setattr__(self, "_verify", verify)
        if not verify(signing_input, signature):
            raise InvalidSignature(self.algorithm)


@runtime_checkable
class KeySource(Protocol):
    """Where an issuer's verification keys come from.

    Write ``keys_for``. Return an empty sequence if there is no such key, and raise ``BackendUnavailable`` if the keys
    cannot be read now::

        class VaultKeys:
            async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
                keys = await load()  # VerificationKey("ES256", kid, public_key), ...
                return [key for key in keys if key.algorithm == algorithm and kid in (None, key.kid)]

    If ``keys_for`` has a parameter ``requester``, it gets the ``Requester`` for whom the keys are needed, so that one
    network cannot use up what all share. A source that may not fetch now raises ``KeysBusy``.

    A source may also have ``held(*, kid, algorithm)``, not async: the same answer if it is in memory, None if
    ``keys_for`` must be awaited. It is called first, and without a deadline: the timer would cost more than the answer.
    """

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys for ``algorithm`` that may have signed a token: those with its ``kid``, or all if it has none."""
        ...


class HeldKeys(Protocol):
    """The type of the optional method ``held`` of a ``KeySource``."""

    def __call__(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None: ...


@runtime_checkable
class RefetchableKeys(KeySource, Protocol):
    """A ``KeySource`` whose keys may be replaced at any time, even under the same ``kid``.

    If no key verifies a signature, ``refetch`` is asked for other keys before the token is rejected.
    """

    async def refetch(
        self, tried: Sequence[VerificationKey], *, kid: str | None, algorithm: str
    ) -> Sequence[VerificationKey] | None:
        """The keys that ``keys_for`` would return now; None if these are the ``tried`` ones, which did not match."""
        ...

    def algorithms_of(self, kid: str | None) -> Sequence[str]:
        """The algorithms of the keys with this ``kid``, or of all keys if it is None. For the decision record."""
        ...


def takes_requester(method: object) -> bool:
    """Whether this method of a source has a parameter ``requester``."""
    try:
        return callable(method) and "requester" in signature(method).parameters
    except (TypeError, ValueError):  # it is not written in Python
        return False


def key_facts_of(source: object, algorithm: str) -> Mapping[str, object]:
    """What a source says in the record of a token that none of its keys verifies, with its optional ``key_facts``."""
    method: Callable[[str], Mapping[str, object]] | None = getattr(source, "key_facts", None)
    return {"source": type(source).__name__} if method is None else method(algorithm)


class PublishedKeys:
    """The base of a ``KeySource`` whose keys a server publishes. It never has an HMAC secret."""

    __slots__ = ()


class KeyMaterial:
    """Keys that the app gives directly, such as ``PEM(...)``. The issuer binds them to its algorithms."""

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        """The keys, each bound to one of the algorithms. Raises ``ConfigurationError`` if none fits."""
        raise NotImplementedError


#: How many ids of keys a record shows.
MAX_KIDS = 6


class StaticKeys:
    """A ``KeySource`` of keys in memory."""

    __slots__ = ("_all", "_by_kid", "_without_kid")

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._all: dict[str, list[VerificationKey]] = {}
        self._without_kid: dict[str, list[VerificationKey]] = {}
        self._by_kid: dict[tuple[str, str], list[VerificationKey]] = {}
        for key in keys:
            self._all.setdefault(key.algorithm, []).append(key)
            if key.kid is None:
                self._without_kid.setdefault(key.algorithm, []).append(key)
            else:
                self._by_kid.setdefault((key.algorithm, key.kid), []).append(key)

    def exact_match(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None:
        """The keys with exactly this ``kid``, or all keys if it is None; None if there are none."""
        return self._all.get(algorithm) if kid is None else self._by_kid.get((algorithm, kid))

    def held(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys, as ``keys_for`` returns them."""
        if kid is None:
            return self._all.get(algorithm, ())
        # A key without a kid may have signed a token with one.
        keys = self._by_kid.get((algorithm, kid))
        return self._without_kid.get(algorithm, ()) if keys is None else keys

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys with this ``kid``, or else those without one; all keys if ``kid`` is None."""
        return self.held(kid=kid, algorithm=algorithm)

    def key_facts(self, algorithm: str) -> Mapping[str, object]:
        """For the record of a token that no key verifies: the ids of the keys for its algorithm."""
        keys = self._all.get(algorithm, ())
        known = tuple("no kid" if key.kid is None else key.kid for key in keys[:MAX_KIDS])
        more = len(keys) - len(known)
        return {"known": (*known, f"and {more} more") if more else known}


def as_source(keys: KeySource | KeyMaterial | Sequence[KeyMaterial], algorithms: frozenset[str]) -> KeySource:
    """The source for the argument ``keys`` of an issuer. Raises ``ConfigurationError``."""
    if isinstance(keys, KeySource) and not isinstance(keys, type):
        arguments: dict[str, Any] = {"kid": None, "algorithm": ""}
        if takes_requester(keys.keys_for):
            arguments["requester"] = None
        async_function("keys", keys.keys_for, "keys_for(self, *, kid, algorithm)", **arguments)
        return keys
    materials = (keys,) if isinstance(keys, KeyMaterial) else keys
    if (
        not isinstance(materials, tuple | list)
        or not materials
        or not all(isinstance(material, KeyMaterial) for material in materials)
    ):
        raise ConfigurationError(
            "keys",
            "give PEM(...), JWK(...), JWKSet(...), Secret(...), a list of these, RemoteJWKS(url), or a KeySource;"
            " RemoteJWKS and a KeySource must not be in a list; for several sources write"
            ' keys={"HS256": Secret(...), "ES256": RemoteJWKS(url)}',
        )
    return StaticKeys(key for material in materials for key in material.bind(algorithms))
