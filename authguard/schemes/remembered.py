"""That a password fitted a stored hash, remembered for a moment: a client pays for one hash, not for each request."""

from __future__ import annotations

from authguard.model import Clock, check_seconds
from authguard.schemes.recent import Recent


class Remembered:
    """At most ``most`` fits, each for ``seconds``. A fit is a keyed hash of name, password and stored hash.

    Nothing of the account is kept. It is read from its store each time, so that a changed role tells at once; a changed
    hash makes another fit. Raises ``ConfigurationError``.
    """

    def __init__(self, *, seconds: float, most: int = 4096, clock: Clock) -> None:
        self._seconds = check_seconds("remember", seconds, most=3600)
        self._clock = clock
        self._until = Recent[float](most)

    def knows(self, fit: bytes) -> bool:
        """Whether this password fitted this hash a moment ago."""
        until = self._until.get(fit)
        return until is not None and self._clock() < until

    def note(self, fit: bytes) -> None:
        """This password fits this hash."""
        self._until.put(fit, self._clock() + self._seconds)
