"""A secret that must not leak, and a log handler that keeps everything in which it could leak."""

from __future__ import annotations

import base64
import hashlib
import logging
import traceback
from collections.abc import Iterator

#: The secret. No eight characters of it occur in any other text.
CANARY = "Zq7xKw3pVt9mRb2yLc5nHd8fJg4sPa6u"
#: A secret that looks like text, for tests of keys.
KEY_CANARY = "CANARY-in-a-coal-mine-0123456789"
SIGNING_KEY = hashlib.sha256(b"signing key").hexdigest()
WEBHOOK_KEY = hashlib.sha256(b"webhook").hexdigest()


def windows(text: str) -> Iterator[str]:
    """Every eight consecutive characters of the text."""
    return (text[start : start + 8] for start in range(len(text) - 7))


def encodings(text: str) -> list[str]:
    """The text as it may appear elsewhere: in lower case, in hexadecimal, and the part of its Base64 that is the same
    at each of the three offsets."""
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


def leaks(text: str, *more: str) -> list[str]:
    """The parts of the secrets, and of the further texts, that occur in this text."""
    return [part for part in {*SECRET_WINDOWS, *(part for secret in more for part in windows(secret))} if part in text]


class LogRecorder(logging.Handler):
    """A log handler that keeps, for every record of every logger, all that another handler could write."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.entries: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # The logging module itself writes times and thread ids, whose digits now and then equal a window of a secret.
        figures = {"created", "msecs", "relativeCreated", "thread", "process"}
        attributes = {name: value for name, value in vars(record).items() if name not in figures}
        self.entries += [record.getMessage(), repr(attributes)]
        if record.exc_info:
            self.entries.append("".join(traceback.format_exception(record.exc_info[1])))
