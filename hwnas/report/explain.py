"""Where the winner's milliseconds go, and what each single change would save.

A saving is predicted. What it would cost in accuracy is only told where the search left something that bears on it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwnas.report.blocks import Block, blocks
from hwnas.report.data import RunData, gather

_SHOWN = 12


@dataclass(frozen=True)
class Change:
    """One choice of the winner changed. `saved_ms` below zero: the change makes it slower.

    `accuracy_change`: of the changed network against the winner on the search split, where the search judged both.
    `preference`: log-probability of the new option minus that of the old in the distribution that a gradient search
    learned; it holds the search's push towards its latency limit, so it is a hint about accuracy and no more.
    """

    choice: str
    old: str
    new: str
    saved_ms: float
    predicted_ms: float
    accuracy_change: float | None
    preference: float | None

    @property
    def known(self) -> str:
        told = []
        if self.accuracy_change is not None:
            told.append(f"{100 * self.accuracy_change:+.2f} points on the search split")
        if self.preference is not None:
            told.append(f"log-probability {self.preference:+.2f}")
        return ", ".join(told) or "cost unknown"


@dataclass(frozen=True)
class Explanation:
    """`blocks` sum to `predicted_ms`; `changes` are all single ones, the largest saving first."""

    target: str
    statistic: str
    predicted_ms: float
    budget_ms: float
    blocks: list[Block]
    changes: list[Change]
    note: str

    def facts(self) -> dict[str, Any]:
        own = ("name", "option", "ms", "skipped")
        return {
            "target": self.target,
            "statistic": self.statistic,
            "predicted_ms": self.predicted_ms,
            "budget_ms": self.budget_ms,
            "blocks": [
                {key: getattr(b, key) for key in own} | {"share": b.ms / self.predicted_ms} for b in self.blocks
            ],
            "changes": [asdict(change) for change in self.changes],
            "note": self.note,
        }

    def text(self) -> str:
        lines = [f"the winner on {self.target}: predicted {self.predicted_ms:.4g} ms ({self.statistic})"]
        lines += [f"take care: {self.note}"] if self.note else []
        width = max(len(f"{b.name}  {b.option}") for b in self.blocks)
        for b in self.blocks:
            cells = f"{'skipped':>10}" if b.skipped else f"{b.ms:>10.5f} ms {100 * b.ms / self.predicted_ms:>6.1f} %"
            lines.append(f"  {b.name + '  ' + b.option:<{width}}{cells}")
        savings = [change for change in self.changes if change.saved_ms > 0]
        lines.append(f"single changes that save: {len(savings)} of {len(self.changes)}")
        width = max((len(_words(change)) for change in savings[:_SHOWN]), default=0)
        for change in savings[:_SHOWN]:
            saved = f"{change.saved_ms:>9.5f} ms saved, {change.predicted_ms:.4g} ms left"
            lines.append(f"  {_words(change):<{width}}{saved}; {change.known}")
        if len(savings) > _SHOWN:
            lines.append(f"  and {len(savings) - _SHOWN} more: --json")
        return "\n".join(lines)


def explain_run(run_dir: Path) -> Explanation:
    """Raises BadInput when there is no result yet, or the run's latency table is gone or another machine's."""
    run = gather(run_dir)
    model = run.latency
    return Explanation(
        target=run.config.target.name,
        statistic=model.statistic,
        predicted_ms=model.predict(run.winner),
        budget_ms=run.result.budget_ms,
        blocks=blocks(model, run.winner),
        changes=sorted(_changes(run), key=lambda c: (-c.saved_ms, c.choice, c.new)),
        note="; ".join(filter(None, (run.table.origin, run.change))),
    )


def _changes(run: RunData) -> list[Change]:
    space, winner = run.space, run.winner
    judged = {trial.arch: trial.accuracy for trial in run.trials()}
    scores = (run.journal.last("scores") or {}).get("log_probabilities")
    before_ms = run.latency.predict(winner)
    found = []
    for i, choice in enumerate(space.choices):
        for option, name in enumerate(choice.options):
            changed = (*winner[:i], option, *winner[i + 1 :])
            if option == winner[i] or not space.valid(changed):
                continue
            after_ms = run.latency.predict(changed)
            both = winner in judged and changed in judged
            found.append(
                Change(
                    choice=choice.name,
                    old=choice.options[winner[i]],
                    new=name,
                    saved_ms=before_ms - after_ms,
                    predicted_ms=after_ms,
                    accuracy_change=judged[changed] - judged[winner] if both else None,
                    preference=scores[i][option] - scores[i][winner[i]] if scores else None,
                )
            )
    return found


def _words(change: Change) -> str:
    return f"{change.choice}: {change.old} → {change.new}"
