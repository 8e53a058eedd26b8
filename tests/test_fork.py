"""``os.fork()``: registered objects are renewed in the child, which has secrets and counters of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent

import pytest

from authguard import fork

FORKING = """
    import os, sys
    from authguard import PER_PROCESS, Digest, MemoryDigests
    from authguard.model import Moment
    from authguard.request import AuthRequest
    from authguard.state.nonce_store import MemoryNonces

    store = MemoryDigests.of_cleartext({"alice": "wonderland"}, realm="orders")
    nonces = MemoryNonces()
    nonces.begin(1000.0)
    scheme = Digest(store, realm="orders", secret=PER_PROCESS, nonces=nonces)
    opened = scheme._nonce_service._keys
    nonces._lock.__enter__()  # as another thread may have it
    child = os.fork()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    nonces.begin(2000.0)
    fresh = nonces.claim_now(b"n", 1, minted_at=1500.0, expires_at=1800.0, now=1501.0)
    print(scheme._nonce_service._keys == opened, fresh.name, flush=True)
    os._exit(0)
"""


class RenewedObject:
    """An object that counts its renewals."""

    times = 0

    def renew(self) -> None:
        self.times += 1


def test_living_objects_are_renewed() -> None:
    """Registered objects that are still alive are renewed, and others are forgotten."""
    kept, gone = RenewedObject(), RenewedObject()
    for one in (kept, gone):
        fork.renew_after_fork(one)
    del gone

    fork._renew()

    assert kept.times == 1


def test_a_renewal_that_fails_does_not_keep_others_from_theirs() -> None:
    """All objects are renewed, and then the error is raised, which Python prints in the child."""

    class Failing(RenewedObject):
        def renew(self) -> None:
            super().renew()
            raise RuntimeError("it fails")

    objects = [Failing(), RenewedObject(), Failing(), RenewedObject()]
    for one in objects:
        fork.renew_after_fork(one)

    with pytest.raises(RuntimeError, match="it fails"):
        fork._renew()

    assert [one.times for one in objects] == [1, 1, 1, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_has_a_secret_of_its_own_and_takes_nothing_of_before() -> None:
    """A forked child has a new secret, and is not blocked by a lock that a thread of the parent held."""
    command = [sys.executable, "-W", "ignore", "-c", dedent(FORKING)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)

    assert done.stdout.split() == ["False", "FORGOTTEN"]
