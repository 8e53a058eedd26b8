"""API keys whose text is the same in each run, and requests with one."""

from __future__ import annotations

from typing import Any

from authguard.accounts.api_key import StoredKey, key_digest
from authguard.accounts.api_key_memory import MemoryApiKeys
from authguard.model import Accepted, Moment, Outcome, Rejected
from authguard.request import AuthRequest
from authguard.schemes.api_key.scheme import ApiKey
from authguard.wire.api_key import ApiKeyText
from authguard.wire.authorization import Credentials
from tests.support.asgi import http_scope
from tests.support.clock import NOW
from tests.support.coroutines import run_without_waiting

KEY_ID = "Zk3mV0pQ8sT1"


def key_text(key_id: str = KEY_ID, *, label: str = "acme_live", secret: str = "s" * 27) -> str:
    """The text of a key."""
    return ApiKeyText.write(label, key_id, secret).text.decode()


def stored_key(key_id: str = KEY_ID, *, text: str | None = None, pepper: str | None = None, **fields: Any) -> StoredKey:
    """A key of alice's for production, as a store keeps it."""
    given: dict[str, Any] = {"owner": "alice", "name": "ci", "prefix": "acme", "environment": "live"}
    given |= {"created": NOW - 1000, **fields}
    label = f"acme_{given['environment']}" if given["environment"] else "acme"
    return StoredKey(key_id, key_digest(text or key_text(key_id, label=label), pepper), **given)


def api_key_scheme(*keys: StoredKey, store: Any = None, **options: Any) -> ApiKey:
    """A scheme for these keys. Without any, it is one of alice's."""
    given = {"realm": "orders", "prefix": "acme", "environment": "live", **options}
    return ApiKey(store or MemoryApiKeys(keys or [stored_key()]), **given)


def outcome(
    scheme: ApiKey, text: str | bytes, client: tuple[str, int] | None = ("192.0.2.7", 4711), now: float = NOW
) -> Outcome:
    """What a scheme says about a key, with a store that answers at once."""
    raw = text.encode() if isinstance(text, str) else text
    request = AuthRequest(http_scope(client=client), "/", Moment(now, 60.0))
    return run_without_waiting(scheme.authenticate(request, Credentials(scheme.auth_scheme, raw)))


def rejected(*arguments: Any, **options: Any) -> Rejected:
    """The refusal of a key."""
    answer = outcome(*arguments, **options)
    assert isinstance(answer, Rejected)
    return answer


def accepted(*arguments: Any, **options: Any) -> Accepted:
    """The acceptance of a key."""
    answer = outcome(*arguments, **options)
    assert isinstance(answer, Accepted)
    return answer
