"""Fork the test process, and run code in the child."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run_in_child(work: Callable[[], object]) -> str:
    """Fork, run ``work`` in the child, and return the repr of its result, or of its exception."""
    reading, writing = os.pipe()
    # Another thread may hold the lock of coverage at the moment of the fork. The child would wait for it for ever, so
    # that it must not be measured.
    process, trace = os.getpid(), sys.gettrace()
    sys.settrace(None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on, for a fork of a process with threads
            child = os.fork()
    finally:
        parent = os.getpid() == process
        if parent:
            sys.settrace(trace)
    if not parent:
        threading.settrace(None)  # nor must its threads
        signal.alarm(30)  # a child that hangs ends without an answer
        try:
            answer = repr(work())
        except BaseException as error:  # noqa: BLE001 - the parent's assertion shows it
            answer = repr(error)
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    return text


@contextmanager
def held_by_another_thread(lock: AbstractContextManager[Any]) -> Iterator[None]:
    """Another thread holds the lock, as it may at the moment of a fork."""
    held, released = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            released.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    try:
        yield
    finally:
        released.set()
        thread.join(30)
