"""Everything the page and `explain` draw on, from the files of a run directory. Nothing is measured or written."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hwnas.core.arch import Arch
from hwnas.core.budget import Budget, parse_budget
from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.journal import Journal, Record
from hwnas.core.plugins import load
from hwnas.latency.model import LatencyModel
from hwnas.latency.plain_sum import model_of
from hwnas.latency.table import LatencyTable, load_table
from hwnas.run.config import RunConfig
from hwnas.run.directory import stored_config
from hwnas.run.result import OnTarget, Result, load_result
from hwnas.search.trial import Trial
from hwnas.spaces import Space


@dataclass(frozen=True)
class RunData:
    """A run, finished or not, opened without its lock."""

    path: Path
    config: RunConfig
    result: Result
    journal: Journal

    @property
    def budget(self) -> Budget:
        return parse_budget(self.result.budget)

    @property
    def winner(self) -> Arch:
        return tuple(self.result.arch)

    @property
    def budget_predicted_ms(self) -> float | None:
        """The budget on the first target as the search knew it, before anything but operators was measured."""
        return self.budgets_predicted_ms[0]

    @property
    def budgets_predicted_ms(self) -> list[float | None]:
        """Of every target."""
        return [_predicted_ms(there) for there in (self.result, *self.result.also_on)]

    def trials(self, kind: str = "trial") -> list[Trial]:
        """Those that could be judged."""
        return [trial for trial in map(Trial.of, self.journal.of(kind)) if not trial.failed]

    @property
    def profiled(self) -> Record:
        """Raises BadInput when the run has not come that far."""
        record = self.journal.last("profiled")
        if record is None or "fingerprint" not in record:
            raise BadInput(f"{self.path} does not say what it profiled", f"hwnas run --out {self.path} goes on with it")
        return record

    @cached_property
    def space(self) -> Space:
        """Raises BadInput when the run's space was an object given through Python, which no file can hold."""
        plugin = load("spaces", self.config.space.name)
        settings = validate(plugin.Settings, self.config.space.own(), "space")
        space = plugin(settings, channels=self.profiled["channels"], classes=self.profiled["classes"])
        if not space.valid(self.winner) or space.describe(self.winner) != self.result.choices:
            raise BadInput(f"the run's space is not the '{self.config.space.name}' that its configuration names")
        return space

    @cached_property
    def table(self) -> LatencyTable:
        """Raises BadInput when it is damaged, or was measured on another machine than the run's."""
        path = Path("latency_tables") / f"{self.config.target.name}.json"
        table = load_table(path)
        theirs, ours = table.fingerprint.identity, self.profiled["fingerprint"]
        changed = [
            f"{key}: {ours.get(key)} then, {theirs.get(key)} now" for key in ours if ours[key] != theirs.get(key)
        ]
        if changed:
            raise BadInput(f"{path} now holds another machine's times ({'; '.join(changed)})")
        return table

    @cached_property
    def latency(self) -> LatencyModel:
        return model_of(self.space, self.table, self.budget.statistic)

    @property
    def change(self) -> str:
        """How the model differs from the one that the search used; empty when it does not."""
        now, then = self.latency.predict(self.winner), self.result.predicted_ms
        if abs(now / then - 1) < 1e-6:
            return ""
        return (
            "the table was measured again since, or hwnas corrects it otherwise: "
            f"it now predicts {now:.5g} ms for the winner, where the search saw {then:.5g} ms"
        )


def _predicted_ms(there: OnTarget) -> float | None:
    budget, reference = parse_budget(there.budget), there.reference
    if budget.ms is not None or reference is None or reference.predicted_ms is None:
        return budget.ms
    return budget.resolve_ms(reference.predicted_ms)


def gather(run_dir: Path) -> RunData:
    """Raises BadInput when there is no run, or it has not found a network yet."""
    config = stored_config(run_dir)
    return RunData(run_dir, config, load_result(run_dir), Journal(run_dir / "journal.jsonl"))
