"""When a publication is tried again."""

from __future__ import annotations

import random
import time

from ._error import PublishError

ATTEMPT_SECONDS = 5.0
# A time of zero would mean none.
SECONDS_MIN = 0.001
PAUSE_SECONDS = 0.1
PAUSE_MAX_SECONDS = 2.0


class Attempts:
    """The attempts of one publication: their time, and the pauses between them."""

    def __init__(self, timeout: float, retries: bool) -> None:
        self._end = time.monotonic() + timeout
        self._retries = retries
        self._pause = PAUSE_SECONDS

    def seconds(self) -> float:
        """Returns the time for the next attempt."""
        rest = max(self._end - time.monotonic(), SECONDS_MIN)
        return min(rest, ATTEMPT_SECONDS) if self._retries else rest

    def pause_after(self, error: PublishError) -> float:
        """Returns the pause before the next attempt in seconds. Raises the error if it is last."""
        # Publishers that failed together return at different times.
        pause = max(error.retry_after or 0.0, self._pause * (0.5 + random.random()))
        self._pause = min(2 * self._pause, PAUSE_MAX_SECONDS)
        is_over = time.monotonic() + pause >= self._end
        if not error.is_temporary or not self._retries or is_over:
            raise error
        return pause
