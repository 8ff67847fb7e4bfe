"""Which estimators are calibrated, and with what settings."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hwnas.core.config import Settings, assign, validate
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load, names

TRUTH = "full"


@dataclass(frozen=True)
class Plan:
    """`label`: how the table calls it; `settings` as given, without defaults."""

    label: str
    plugin: str
    settings: dict[str, Any]

    def validated(self) -> Settings:
        return validate(load("estimators", self.plugin).Settings, self.settings, self.plugin)

    @property
    def digest(self) -> str:
        """Of everything its answers depend on."""
        text = json.dumps([self.plugin, self.validated().model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def plans(chosen: Sequence[str], assignments: Sequence[str], networks: int, epochs: int) -> list[Plan]:
    """The truth, then the chosen estimators (all that train or look at networks, when none is named).

    An estimator with settings of its own (`subset.fraction=0.1`) is calibrated with those alone. Raises BadInput for
    what is unknown, before any work.
    """
    own: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        assign(own, assignment)
    usual = _usual(networks, epochs)
    wanted = chosen or [n for n in names("estimators") if n != TRUTH and not load("estimators", n).looks_up]
    found = [Plan(TRUTH, TRUTH, {})]
    for name in dict.fromkeys(wanted):
        if load("estimators", name).looks_up:
            raise BadInput(f"{name} looks accuracies up: there is nothing to calibrate", "leave it out")
        variants = {"": own[name]} if name in own else usual.get(name, {"": {}})
        found += [Plan(f"{name} {variant}".strip(), name, settings) for variant, settings in variants.items()]
    for plan in found:
        plan.validated()
    return list({plan.digest: plan for plan in reversed(found)}.values())[::-1]


def split_assignments(assignments: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that are an estimator's own, and those of the run."""
    known = names("estimators")
    own = tuple(a for a in assignments if a.partition(".")[0] in known)
    return own, tuple(a for a in assignments if a not in own)


def _usual(networks: int, epochs: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Plug-in → variant → settings: a quarter of the full cost, and what else is worth knowing."""
    few = sorted({max(1, round(share * epochs)) for share in (0.1, 0.25, 0.5)})
    proxies = ("synflow", "jacov", "snip", "grad-norm", "naswot")
    lessons = max(2, networks // 3)
    return {
        "early-stop": {f"{e} epoch{'s' if e > 1 else ''}": {"epochs": e} for e in few if e < epochs},
        "subset": {"1/4": {"fraction": 0.25, "epochs": epochs}},
        "narrow": {"1/2": {"share": 0.5, "epochs": epochs}},
        "learning-curve": {
            "": {"first": lessons},
            "at 1/4": {"first": lessons, "chance": 1.0},
        },
        "predictor": {"": {"first": lessons}},
        "zero-cost": {"vote": {}} | {name: {"proxies": [name]} for name in proxies},
    }
