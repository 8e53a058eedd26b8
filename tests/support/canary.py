"""A secret that must not leak, and a log handler that records everything that could leak it."""

from __future__ import annotations

import base64
import hashlib
import logging
import traceback
from collections.abc import Iterator

#: The secret. No eight characters of it stand anywhere else.
CANARY = "Zq7xKw3pVt9mRb2yLc5nHd8fJg4sPa6u"


SIGNING_KEY = hashlib.sha256(b"signing key").hexdigest()


WEBHOOK_KEY = hashlib.sha256(b"webhook").hexdigest()


def windows(text: str) -> Iterator[str]:
    """Every eight characters of it."""
    return (text[start : start + 8] for start in range(len(text) - 7))


def encodings(text: str) -> list[str]:
    """The text, in lower case and in hexadecimal, and what of its Base64 is the same wherever in a text it stands."""
    shifted = [base64.b64encode(b"\0" * shift + text.encode()).decode()[4:-4] for shift in range(3)]
    return [
        text,
        text.lower(),
        text.encode().hex(),
        *shifted,
        *(part.replace("+", "-").replace("/", "_") for part in shifted),
    ]


SECRET_WINDOWS = {
    part for secret in (CANARY, SIGNING_KEY, WEBHOOK_KEY) for text in encodings(secret) for part in windows(text)
}


def leaks(told: str, *more: str) -> list[str]:
    """What of the secrets stands in the text."""
    return [part for part in {*SECRET_WINDOWS, *(part for text in more for part in windows(text))} if part in told]


class LogRecorder(logging.Handler):
    """It hears every record of every logger, and writes down all that a handler could."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.entries: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # Times and numbers of threads are the logging module's own, and now and then a run of their digits is a slice.
        figures = {"created", "msecs", "relativeCreated", "thread", "process"}
        told = {name: value for name, value in vars(record).items() if name not in figures}
        self.entries += [record.getMessage(), repr(told)]
        if record.exc_info:
            self.entries.append("".join(traceback.format_exception(record.exc_info[1])))
