"""Who answers a strategy's questions: the estimator in this process, or workers elsewhere (run/judging.py)."""

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from hwnas.core.arch import Arch
from hwnas.search.estimators import Estimator
from hwnas.search.trial import Upbringing


@dataclass(frozen=True)
class Question:
    """`number`: its place among the proposals. `asked_at`: after so many results were told."""

    number: int
    arch: Arch
    upbringing: Upbringing | None
    asked_at: int

    @property
    def raised(self) -> dict[str, Any]:
        return {} if self.upbringing is None else asdict(self.upbringing)

    def facts(self) -> dict[str, Any]:
        """What the journal keeps of it beside the architecture."""
        # `asked_at` is a time of sorts, and no part of the digest.
        return self.raised | ({} if self.asked_at == self.number else {"asked_at": self.asked_at})


@dataclass(frozen=True)
class Verdict:
    """`failed`: why there is no accuracy, with its `log`; empty where there is one."""

    accuracy: float
    seconds: float
    failed: str = ""
    log: str = ""


class Judges(ABC):
    """`workers`: how many questions they answer at a time."""

    workers: int = 1

    @abstractmethod
    def submit(self, question: Question) -> None: ...

    @abstractmethod
    def next(self) -> tuple[Question, Verdict]:
        """The next answer, in whatever order they come."""


class Here(Judges):
    """This process, one question at a time."""

    def __init__(self, estimator: Estimator) -> None:
        self.estimator, self.waiting = estimator, deque[Question]()

    def submit(self, question: Question) -> None:
        self.waiting.append(question)

    def next(self) -> tuple[Question, Verdict]:
        question, start = self.waiting.popleft(), monotonic()
        return question, Verdict(answer(self.estimator, question.arch, question.upbringing), monotonic() - start)


def answer(estimator: Estimator, arch: Arch, upbringing: Upbringing | None) -> float:
    if upbringing is None:
        return estimator.accuracy(arch)
    return estimator.raised(arch, upbringing)
