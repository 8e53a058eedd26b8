"""Whether several processes serve an app, and which stores of its guard then count in each of them for itself."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

from authguard.audit.findings import UNSHARED, Finding
from authguard.core.guard import Guard
from authguard.fork import is_forked

#: The servers whose settings tell how many workers they start, by the package of their code.
_SERVERS = frozenset({"gunicorn", "hypercorn", "uvicorn"})

#: For each argument: what follows if its store counts in each process for itself, and what shares it.
_EFFECTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "nonces": ("a request that somebody recorded passes once at each of them", "nonces=RedisNonces(redis)"),
        "secret": (
            "each of them refuses the nonces of the others, and clients ask again and again",
            'secret=os.environ["DIGEST_SECRET"], and nonces=RedisNonces(redis)',
        ),
        "throttle": (
            "a client has all its guesses at each of them",
            "throttle=LoginThrottle(store=RedisThrottleStore(redis))",
        ),
        "revocations": (
            "what one of them revokes, the others still accept",
            "revocations=RedisRevocations(redis, source=...), SqlRevocations(...) or RevocationFile(...)",
        ),
    }
)
_UNKNOWN = ("each of them counts for itself", "a store that they share")


def about_workers(guard: Guard) -> tuple[Finding, ...]:
    """A finding for each store that counts in each process for itself, if several processes serve the app."""
    stores = _per_process_stores(guard)
    sign = sign_of_workers() if stores else None
    if sign is None:
        return ()
    findings = []
    for (argument, name, _), schemes in stores.items():
        effect, write = _EFFECTS.get(argument, _UNKNOWN)
        about = f"{argument} of {', '.join(schemes)}" if schemes else argument
        problem = f"several processes serve the app ({sign}), and {name} counts in each of them for itself: {effect}"
        findings.append(Finding(UNSHARED, about, problem, "", f"Write {write}"))
    return tuple(findings)


def _per_process_stores(guard: Guard) -> Mapping[tuple[str, str, int], list[str]]:
    """Such stores of the guard by argument, name and identity, each with the schemes that share it."""
    stores: dict[tuple[str, str, int], list[str]] = {}
    for scheme in guard.schemes:
        given: Mapping[str, object] = getattr(scheme, "state_stores", dict)()
        for argument, store in given.items():
            if isinstance(store, str):
                stores.setdefault((argument, store, 0), []).append(scheme.name)
            elif getattr(store, "is_per_process", False):
                stores.setdefault((argument, type(store).__name__, id(store)), []).append(scheme.name)
    for store in guard.revocation_stores:
        if getattr(store, "is_per_process", False):
            stores["revocations", type(store).__name__, id(store)] = []
    return stores


def sign_of_workers() -> str | None:
    """What shows that several processes serve the app, for a log line; None if nothing does.

    To be called in the thread of the event loop, on which the server runs the app. What the server says of itself comes
    first: uvicorn starts a process for ``--reload`` as it does for a worker, and
    hypercorn even for a single one.
    """
    counts = dict(_workers_of_servers())
    server = max(counts, key=lambda name: counts[name], default="")
    if counts.get(server, 0) > 1:
        return f"{server} runs {counts[server]} workers"
    concurrency = os.environ.get("WEB_CONCURRENCY", "")
    if not counts and concurrency.isdecimal() and int(concurrency) > 1:
        return f"WEB_CONCURRENCY={int(concurrency)}"
    if not (is_forked() or _is_of_multiprocessing()):
        return None
    alike = count_alike(Path("/proc"), os.getpid(), os.getppid())
    if alike is None:
        return None if counts else "this process was forked, or multiprocessing started it"
    return f"{alike} processes like this one have the same parent" if alike > 1 else None


def _is_of_multiprocessing() -> bool:
    """Whether ``multiprocessing`` started this process. Such a process has imported it."""
    module: Any = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None


def _workers_of_servers() -> Iterator[tuple[str, int]]:
    """The name of each server among the callers, and how many workers its settings ask for."""
    for package, settings in server_settings():
        workers = getattr(settings, "workers", None)
        if isinstance(workers, int):
            # uvicorn ignores the number, or WEB_CONCURRENCY, where it reloads.
            yield package, 1 if getattr(settings, "should_reload", False) is True else workers


def server_settings() -> Iterator[tuple[str, Any]]:
    """The package of each server among the callers, and what may be its settings; None among them.

    To be called in the thread of the event loop, on which the server runs the app.
    """
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - a server tells an app nothing of its settings
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in _SERVERS:
            owner: Any = frame.f_locals.get("self")
            for settings in (frame.f_locals.get("config"), getattr(owner, "config", None), getattr(owner, "cfg", None)):
                yield package, settings
        frame = frame.f_back


def count_alike(proc: Path, process: int, parent: int) -> int | None:
    """How many children of ``parent`` run the program of ``process`` with the same arguments.

    Numbers in the arguments may differ: ``multiprocessing`` passes those of pipes. 1 if the parent runs another
    program: that is a shell or an init system, which starts more than one app. None if ``proc``, the ``/proc`` of
    Linux, does not show it.
    """
    try:
        if (proc / str(process) / "exe").readlink() != (proc / str(parent) / "exe").readlink():
            return 1
        others = [int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal()]
        own = _arguments(proc, process)
    except OSError:
        return None
    return sum(_parent(proc, other) == parent and _arguments(proc, other) == own for other in others)


def _arguments(proc: Path, process: int) -> bytes | None:
    """The arguments of a process without their digits; None if it has ended."""
    with suppress(OSError):
        return re.sub(rb"\d+", b"", (proc / str(process) / "cmdline").read_bytes())
    return None


def _parent(proc: Path, process: int) -> int | None:
    """The parent of a process; None if it has ended."""
    with suppress(OSError):
        # After the name of the program, which is in parentheses and may hold anything, come the state and the parent.
        return int((proc / str(process) / "stat").read_bytes().rpartition(b")")[2].split()[1])
    return None
