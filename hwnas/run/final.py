"""The final measurement: the shipped files themselves, on one target."""

from dataclasses import asdict, dataclass, replace

from hwnas.core.budget import parse_budget
from hwnas.core.journal import Record
from hwnas.core.seeds import derive
from hwnas.deploy.energy import energies_mj
from hwnas.deploy.measure import Measured, measure
from hwnas.exporters import DEPLOYED
from hwnas.run.config import RunConfig
from hwnas.run.export import Formats


@dataclass(frozen=True)
class Final:
    """By role. `budget_ms`: it follows from the reference's time in the same measurement."""

    config: RunConfig
    exported: dict[str, Formats]
    measured: dict[str, Measured]
    budget_ms: float

    def ms(self, role: str) -> float:
        """By the budget's statistic."""
        return self.measured[role].by(parse_budget(self.config.budget).statistic)

    def within_budget(self, role: str) -> bool:
        return self.ms(role) <= self.budget_ms

    def deployed(self) -> dict[str, bytes]:
        """What runs there."""
        return deployed_files(self.exported, self.config)

    def facts(self) -> Record:
        return {"measured": {role: asdict(m) for role, m in self.measured.items()}, "budget_ms": self.budget_ms}

    @classmethod
    def of(cls, record: Record, config: RunConfig, exported: dict[str, Formats]) -> "Final":
        measured = {role: Measured(**m) for role, m in record["measured"].items()}
        return cls(config, exported, measured, record["budget_ms"])


def final_measurement(exported: dict[str, Formats], config: RunConfig) -> Final:
    """Interleaved, on `config`'s own target."""
    models, budget = deployed_files(exported, config), parse_budget(config.budget)
    measured = measure(models, config.target, derive(config.seed, "final"))
    energy_mj, meter = energies_mj(models, config.target)
    measured = {role: replace(m, energy_mj=energy_mj.get(role), energy_meter=meter) for role, m in measured.items()}
    return Final(config, exported, measured, budget.resolve_ms(measured["reference"].by(budget.statistic)))


def deployed_files(exported: dict[str, Formats], config: RunConfig) -> dict[str, bytes]:
    name = DEPLOYED[config.target.precision]
    return {role: formats[name].content for role, formats in exported.items()}
