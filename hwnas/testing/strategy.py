"""What every strategy must do, tried on spaces on paper: no network is built, no weight trained."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import SkipTest

import numpy as np
import torch
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.core.plugins import load
from hwnas.core.seeds import derive
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer, Relaxation
from hwnas.search.trial import Trial
from hwnas.spaces import Gates
from hwnas.testing.paper import PaperSpace, When, one_operator_an_option, paper_problem, prices
from hwnas.training import checkpoint
from hwnas.training.supernet import LossOf

EPOCHS, STEPS = 10, 50
"""Of a relaxation: epochs, and weight steps an epoch."""
MOST_TRIALS = 400
"""So many proposals of a search are looked at."""

Quality = list[Tensor]
"""Per choice, the loss that each option adds."""


def check_settings(name: str, folder: Path) -> None:
    """Defaults are complete, and a setting that does not exist is refused."""
    settings = load("strategies", name).Settings
    validate(settings, {}, "strategy")
    try:
        validate(settings, {"no_such_setting": 1}, "strategy")
    except BadInput:
        return
    raise AssertionError("an unknown setting was accepted: let Settings derive from hwnas.core.config.Settings")


def check_within_budget(name: str, folder: Path) -> None:
    """Every proposal is a valid network within the budget, also where hardly any is; and the search ends."""
    for label, problem in {**problems(), "constrained": _constrained()}.items():
        for arch in proposals(_proposer(name, problem), problem):
            assert problem.feasible(arch), f"{label}: proposed {arch}, which is invalid or over the budget"


def check_replay(name: str, folder: Path) -> None:
    """Told the same trials, read back from a journal, it asks the same: that is how a search resumes."""
    problem = problems()["plain"]
    asked = proposals(_proposer(name, problem), problem)
    again = _proposer(name, problem)
    for number, arch in enumerate(asked):
        assert again.ask() == arch, f"ask number {number} differs between two runs of one seed"
        again.tell(Trial.of(json.loads(json.dumps(_judged(problem, arch).facts()))))


def check_asked_ahead(name: str, folder: Path) -> None:
    """By several workers it is asked as far ahead as it allows: every proposal is a network within the budget, and the
    same ones come a second time."""
    for label, problem in {**problems(), "constrained": _constrained()}.items():
        asked = proposals(_proposer(name, problem), problem, workers=3)
        assert all(problem.feasible(arch) for arch in asked), f"{label}: asked ahead, it is over the budget"
        assert proposals(_proposer(name, problem), problem, workers=3) == asked, f"{label}: a second time it differs"


def check_same_in_another_process(name: str, folder: Path) -> None:
    """The same decisions whatever PYTHONHASHSEED is."""
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
    code = f"from hwnas.testing.strategy import decisions; print(decisions({name!r}))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == decisions(name), "another process decides otherwise"


def check_gates(name: str, folder: Path) -> None:
    """The gates of a weight step: every choice, options that exist, a path without a weight alone."""
    problem = problems()["plain"]
    strategy = _relaxation(name, problem)
    generator = torch.Generator().manual_seed(0)
    for step in range(20):
        loss_of = _weight_step(strategy, _recording(problem), generator)
        strategy.update(loss_of, step / STEPS, generator)


def check_scores(name: str, folder: Path) -> None:
    """Scores are log-probabilities, one an option, before and after a search."""
    for problem in problems().values():
        strategy = _relaxation(name, problem)
        for scores in (strategy.scores(), _searched(strategy, problem).scores()):
            assert [len(s) for s in scores] == [len(choice.options) for choice in problem.space.choices]
            sums = [float(np.exp(s).sum()) for s in scores]
            assert np.allclose(sums, 1), f"the probabilities of a choice sum to {sums}"


def check_round_trip(name: str, folder: Path) -> None:
    """Stopped, saved, loaded into a new one, it goes on to the same numbers."""
    problem = problems()["plain"]
    straight = _relaxation(name, problem)
    _search(straight, problem, 0, EPOCHS // 2)
    checkpoint.save(folder / "half.safetensors", {"companion": straight.state()}, {})
    _search(straight, problem, EPOCHS // 2, EPOCHS)
    resumed = _relaxation(name, problem)
    resumed.load_state(checkpoint.load(folder / "half.safetensors")[0]["companion"])
    _search(resumed, problem, EPOCHS // 2, EPOCHS)
    for ours, theirs in zip(resumed.scores(), straight.scores(), strict=True):
        assert np.array_equal(ours, theirs), "a resumed search ends elsewhere than an uninterrupted one"
    assert resumed.facts() == straight.facts()


def check_reaches_budget(name: str, folder: Path) -> None:
    """Where the loss says nothing, E[latency] sinks to the budget, and not far below it."""
    problem = paper_problem(PaperSpace([4] * 8, one_operator_an_option([4] * 8)), prices(32, 5), tightness=0.75)
    strategy = _relaxation(name, problem)
    before = expected_ms(strategy, problem)
    assert before > 1.1 * problem.limit_ms
    _search(strategy, problem, 0, 2 * EPOCHS, [torch.zeros(4)] * 8)
    after = expected_ms(strategy, problem)
    assert 0.75 * problem.limit_ms < after < 1.1 * problem.limit_ms, (
        f"E[latency] went from {before:.4g} to {after:.4g} ms; the limit is {problem.limit_ms:.4g} ms"
    )


def check_learns(name: str, folder: Path) -> None:
    """Where the budget does not bind, the options with the smaller loss become more probable."""
    problem = paper_problem(PaperSpace([3] * 6, one_operator_an_option([3] * 6)), [1.0] * 18, tightness=0.0)
    strategy = _relaxation(name, problem)
    _search(strategy, problem, 0, 2 * EPOCHS, [torch.tensor([0.6, 0.0, 0.6])] * 6)
    best = [float(np.exp(s[1])) for s in strategy.scores()]
    assert np.mean(best) > 0.6, f"the best options have the probabilities {np.round(best, 2).tolist()}, at first 1/3"


def problems() -> dict[str, Problem]:
    """A plain one; operators that hang on two or three choices; hardly a feasible network; a choice of one option."""
    widths = [3, 4, 2, 3]
    tied: list[When] = [(), *(((0, a), (1, b)) for a in range(3) for b in range(4))]
    tied += [((1, b), (2, c), (3, d)) for b in range(4) for c in range(2) for d in range(3)]
    single = [3, 1, 3]
    return {
        "plain": _problem(widths, one_operator_an_option(widths), 0.5),
        "tied": _problem(widths, tied, 0.6),
        "scarce": _problem([5] * 6, one_operator_an_option([5] * 6), 0.99),
        "one option": _problem(single, one_operator_an_option(single), 0.5),
    }


def decisions(name: str) -> str:
    """Everything a short search decides, as text."""
    problem = problems()["plain"]
    strategy = _strategy(name, problem)
    if isinstance(strategy, Proposer):
        return json.dumps(proposals(strategy, problem))
    return json.dumps([[float(x).hex() for x in s] for s in _searched(strategy, problem).scores()])


def proposals(strategy: Proposer, problem: Problem, workers: int = 1) -> list[Arch]:
    """What it asks for when it is told an invented accuracy of each, in their order, as late as it allows."""
    assert strategy.trials >= 1
    asked, told = [], 0
    for number in range(min(strategy.trials, MOST_TRIALS)):
        while number - told > min(strategy.outstanding(workers), 4 * (workers - 1)):
            strategy.tell(_judged(problem, asked[told]))
            told += 1
        asked.append(strategy.ask())
    return asked


def expected_ms(strategy: Relaxation, problem: Problem) -> float:
    return float(problem.latency.expected([torch.from_numpy(np.exp(s)) for s in strategy.scores()]))


def _problem(widths: list[int], conditions: list[When], tightness: float) -> Problem:
    return paper_problem(PaperSpace(widths, conditions), prices(len(conditions), 1), tightness)


def _constrained() -> Problem:
    """Only networks whose options do not decrease are valid."""
    space = PaperSpace([3] * 4, one_operator_an_option([3] * 4), allowed=lambda arch: list(arch) == sorted(arch))
    return paper_problem(space, prices(12, 2), tightness=0.5)


def _strategy(name: str, problem: Problem) -> Proposer | Relaxation:
    plugin = load("strategies", name)
    settings = validate(plugin.Settings, {}, "strategy")
    return plugin(problem, settings, EPOCHS) if issubclass(plugin, Relaxation) else plugin(problem, settings)


def _proposer(name: str, problem: Problem) -> Proposer:
    strategy = _strategy(name, problem)
    if not isinstance(strategy, Proposer):
        raise SkipTest("of strategies that propose")
    return strategy


def _relaxation(name: str, problem: Problem) -> Relaxation:
    strategy = _strategy(name, problem)
    if not isinstance(strategy, Relaxation):
        raise SkipTest("of strategies that relax a supernet")
    return strategy


def _judged(problem: Problem, arch: Arch) -> Trial:
    accuracy = derive(0, "accuracy", *arch) / 2**63
    return Trial(arch, accuracy, problem.latency.predict(arch), problem.latency.predict_p95(arch))


def _searched(strategy: Relaxation, problem: Problem) -> Relaxation:
    _search(strategy, problem, 0, EPOCHS)
    return strategy


def _search(strategy: Relaxation, problem: Problem, start: int, stop: int, quality: Quality | None = None) -> None:
    """Epochs `start` to `stop`, each with its own random stream, as the training of a supernet calls it."""
    loss_of = _loss_of(quality or _quality(problem))
    for epoch in range(start, stop):
        generator = torch.Generator().manual_seed(derive(0, epoch))
        for step in range(STEPS):
            strategy.update(_weight_step(strategy, loss_of, generator), epoch + step / STEPS, generator)


def _weight_step(strategy: Relaxation, loss_of: Callable[[Gates], Tensor], generator: torch.Generator) -> LossOf:
    """There are no weights to move, but the backward pass reaches whatever the gates hang on."""
    loss = loss_of(strategy.gates(generator))
    if loss.requires_grad:
        loss.backward()
    return LossOf(loss_of, loss_of, loss.detach(), torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))


def _quality(problem: Problem) -> Quality:
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(len(choice.options), generator=generator) for choice in problem.space.choices]


def _loss_of(quality: Quality) -> Callable[[Gates], Tensor]:
    """0.5 + Σ gate · quality: differentiable in the gates, as a supernet's loss is."""

    def loss_of(gates: Gates) -> Tensor:
        total = torch.tensor(0.5)
        for choice, paths in gates.items():
            for option, gate in paths.items():
                total = total + quality[choice][option] * (1.0 if gate is None else gate)
        return total

    return loss_of


def _recording(problem: Problem) -> Callable[[Gates], Tensor]:
    """A loss that looks at the gates it is given."""
    loss_of = _loss_of(_quality(problem))

    def recording(gates: Gates) -> Tensor:
        _check_gates(gates, problem)
        return loss_of(gates)

    return recording


def _check_gates(gates: Gates, problem: Problem) -> None:
    choices = problem.space.choices
    assert sorted(gates) == list(range(len(choices))), f"gates for the choices {sorted(gates)} of {len(choices)}"
    for choice, paths in gates.items():
        assert paths and all(0 <= option < len(choices[choice].options) for option in paths), (choice, list(paths))
        assert len(paths) == 1 or None not in paths.values(), "a path without a weight runs alone"
