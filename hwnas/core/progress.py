"""Progress of long work, with an ETA, on stderr. On a terminal one line is redrawn; in a log a line now and then."""

import sys
from time import monotonic

_LOG_EVERY_SECONDS = 15.0
_REDRAW_EVERY_SECONDS = 0.2

_quiet = False


def be_quiet(quiet: bool) -> None:
    """Say nothing more on stderr but warnings and errors."""
    global _quiet
    _quiet = quiet


def say(text: str) -> None:
    """One line for the user, on stderr."""
    if not _quiet:
        print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """One line that `--quiet` does not silence."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


class Progress:
    """`with Progress("profile", total=64) as progress: ... progress.advance()`.

    `done` steps were finished by an earlier run; the ETA counts only what this one did.
    """

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done, self.start_done = label, total, done, done
        self.started = self.shown = monotonic()
        self.terminal = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.done > self.start_done and kind is None:
            self._show(f"{monotonic() - self.started:.1f} s", end="\n")

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = monotonic()
        every = _REDRAW_EVERY_SECONDS if self.terminal else _LOG_EVERY_SECONDS
        if now - self.shown >= every and self.done < self.total:
            self.shown = now
            remaining = (now - self.started) / (self.done - self.start_done) * (self.total - self.done)
            self._show(f"ETA {remaining:.0f} s  {note}", end="\r" if self.terminal else "\n")

    def _show(self, text: str, end: str) -> None:
        if not _quiet:
            clear = "\x1b[K" if self.terminal else ""
            print(f"{self.label}: {self.done}/{self.total}  {text}{clear}", end=end, file=sys.stderr, flush=True)
