"""A progress line of rank 0: rewritten in place on a terminal, now and then a plain line in a job."""

from __future__ import annotations

import sys
import time

from hpcpdf.stage import Context

_TERMINAL_S = 0.2
_JOB_S = 10.0


class Progress:
    """Says on stderr how far rank 0's share is, how fast, and how long it will take; other ranks are silent.

    Parameters
    ----------
    missing
        Samples to make on all ranks.
    share
        Samples to make on this rank.
    context
        Rank and number of ranks.
    """

    def __init__(self, missing: int, share: int, context: Context) -> None:
        self._missing = missing
        self._share = share
        self._ranks = context.world
        self._speaks = context.rank == 0
        self._terminal = sys.stderr.isatty()
        self._start = time.monotonic()
        self._next = self._start + (_TERMINAL_S if self._terminal else _JOB_S)
        self._done = 0

    def sample(self) -> None:
        """One more sample is done."""
        self._done += 1
        if self._speaks and time.monotonic() >= self._next:
            self._say(self._line())
            self._next = time.monotonic() + (_TERMINAL_S if self._terminal else _JOB_S)

    def close(self) -> None:
        """The share is done."""
        if self._speaks and self._share:
            self._say(self._line(), last=True)

    def _line(self) -> str:
        spent = time.monotonic() - self._start
        rate = self._done / max(spent, 1e-9)
        left = (self._share - self._done) / max(rate, 1e-9)
        part = self._done / self._share
        ranks = f", {self._ranks} ranks" if self._ranks > 1 else ""
        return f"generate: {part:4.0%} of {self._missing} samples, {rate:.0f} samples/s a rank{ranks}, " + (
            f"{_duration(left)} left" if self._done < self._share else f"took {_duration(spent)}"
        )

    def _say(self, line: str, *, last: bool = False) -> None:
        if self._terminal:
            print(f"\r{line}\x1b[K", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
