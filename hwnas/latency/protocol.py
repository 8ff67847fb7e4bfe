"""How operators and networks are timed. Part of a table's identity: another protocol gives another number."""

from hashlib import sha256

from pydantic import Field

from hwnas.core.config import Settings


class Protocol(Settings):
    """Every graph is visited once a round, the rounds in random order: drift falls on all alike."""

    rounds: int = Field(default=12, ge=2)
    extra_rounds: int = Field(default=12, ge=0)
    """More rounds at most for graphs whose median is unsure; for all of them while the machine drifts."""
    turn_ms: float = Field(default=6.0, gt=0)
    """How long one visit lasts at least, after its warm-up."""
    min_samples: int = Field(default=6, ge=1)
    """A visit's fewest samples; with 12 rounds 72, enough to state a p90 (MLPerf's rule: 64)."""
    warmup_runs: int = Field(default=3, ge=1)
    max_variation: float = Field(default=0.05, gt=0)
    """How unsure a `stable` entry's median may be (half its 95 % interval over the rounds), and how much the machine
    may drift meanwhile; relative. (How much the rounds themselves vary says less: 10 % on a shared machine whose
    medians repeat within 1 %.)"""

    def digest(self) -> str:
        return sha256(self.model_dump_json().encode()).hexdigest()
