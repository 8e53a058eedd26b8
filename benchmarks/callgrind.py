"""Count the instructions of a part of this process, when valgrind's tool callgrind runs it.

A program asks callgrind for something with a sequence of instructions that does nothing elsewhere ("client request",
https://valgrind.org/docs/manual/manual-core-adv.html). valgrind's header file has it as a macro for C. Here it is put
into executable memory and called with ctypes, so that no compiler is needed.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import re
from collections.abc import Callable
from pathlib import Path

#: The options of valgrind. Counting starts with ``start``; until then the program runs ten times faster.
OPTIONS = ("--tool=callgrind", "--instr-atstart=no", "--dump-line=no", "--compress-pos=no")
#: The only processor for which this module knows the sequence.
MACHINE = "x86_64"

# mov rax, rdi; xor rdx, rdx; rol rdi, 3; rol rdi, 13; rol rdi, 61; rol rdi, 51; xchg rbx, rbx; mov rax, rdx; ret
_CODE = bytes.fromhex("4889f8 4831d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
_RUNNING_ON_VALGRIND = 0x1001
# 'C', 'T', then the number of the request: see callgrind.h.
_DUMP, _ZERO, _START, _STOP = (0x43540000 + number for number in (0, 1, 4, 5))
_TOTAL = re.compile(rb"^(?:summary|totals): (\d+)", re.MULTILINE)


class Callgrind:
    """The requests to callgrind. ``output`` is the path that valgrind was given for this process."""

    def __init__(self, output: Path) -> None:
        if platform.machine() != MACHINE:
            raise SystemExit(f"Instructions are counted on {MACHINE} only; this is {platform.machine()}.")
        self._output, self._dumps = output, 0
        self._memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._memory.write(_CODE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        call: Callable[[object], int] = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(address)
        # The requests are built now, so that a request itself costs as little as possible.
        self._call = call
        self._requests = {
            number: (ctypes.c_ulong * 6)(number) for number in (_RUNNING_ON_VALGRIND, _DUMP, _ZERO, _START, _STOP)
        }
        if not self._request(_RUNNING_ON_VALGRIND):
            raise SystemExit("This module is run by benchmarks.instructions, under valgrind.")

    def _request(self, number: int) -> int:
        return self._call(self._requests[number])

    def start(self) -> None:
        """Start counting."""
        self._request(_START)

    def stop(self) -> None:
        """Stop counting."""
        self._request(_STOP)

    def zero(self) -> None:
        """Forget what was counted."""
        self._request(_ZERO)

    def total(self) -> int:
        """The instructions since the last ``zero`` or ``total``."""
        self._request(_DUMP)
        self._dumps += 1
        dump = self._output.with_name(f"{self._output.name}.{self._dumps}")
        total = _TOTAL.search(dump.read_bytes())
        dump.unlink()
        if total is None:
            raise SystemExit("callgrind has written no total")
        return int(total[1])
