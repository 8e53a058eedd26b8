"""Texts that try to forge a line of the log, or to break it."""

from __future__ import annotations

from authguard.model import Principal

ALICE = Principal("alice", roles={"editor"}, scheme="bearer")


CONTROL_TEXTS = {
    "newline": "a\nWARNING granted: GET / bearer root",
    "carriage return": "a\rb",
    "escape": "a\x1b[2Jb",
    "null": "a\0b",
    "delete": "a\x7fb",
    "C1": "a\x9b31mb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "right to left": "a\u202eb",
    "isolate": "a\u2066b",
    "zero width": "a\u200bb",
    "byte order mark": "\ufeffa",
    "surrogate": "a\ud800b",
    "private use": "a\ue000b",
}


FORGERIES = ["/x 200 bearer root", '/x" 200 bearer "root', "/x status=200", "/x\u00a0200", "/x\t200"]
