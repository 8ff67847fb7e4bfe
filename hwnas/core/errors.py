"""What can go wrong, as a user meets it: what happened, why, and the command that mends it."""


class HwnasError(Exception):
    """A mistake or a misfortune with a mend. `exit_code` is the process's exit status."""

    exit_code = 2

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what}\n  mend: {self.mend}" if self.mend else self.what


class BadInput(HwnasError):
    """Wrong usage, a refused file, another device's table."""

    exit_code = 2


class StorageFailed(BadInput):
    """The disk is full, read-only or gone. What was written before is whole."""


class Infeasible(HwnasError):
    """No network of the space fits the budget."""

    exit_code = 3


class Unavailable(HwnasError):
    """A device, a runtime or an optional package is not here."""

    exit_code = 4


class VerificationFailed(HwnasError):
    """Parity is broken, or the measured latency is over budget."""

    exit_code = 5
