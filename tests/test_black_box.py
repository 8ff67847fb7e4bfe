"""What makes each black-box strategy itself."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from hwnas.core.arch import Arch
from hwnas.search.gaussian_process import GaussianProcess
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.strategies.guided import Guided, GuidedSettings, distinct_feasible
from hwnas.search.strategies.local_search import LocalSearch, LocalSearchSettings
from hwnas.search.strategies.nao import Nao, NaoSettings
from hwnas.search.strategies.nas_rl import NasRl, NasRlSettings
from hwnas.search.strategies.regularized_evolution import RegularizedEvolution, RegularizedEvolutionSettings
from hwnas.search.trial import Trial
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, prices


def problem(widths: list[int], tightness: float = 0.3, seed: int = 0) -> Problem:
    conditions = one_operator_an_option(widths)
    return paper_problem(PaperSpace(widths, conditions), prices(len(conditions), 1), tightness, seed)


def smooth(arch: Arch) -> float:
    """Best where every option is 2."""
    return 0.9 - 0.05 * sum((option - 2) ** 2 for option in arch)


def asked(strategy: Proposer, count: int) -> list[Arch]:
    found = []
    for _ in range(count):
        found.append(strategy.ask())
        strategy.tell(Trial(found[-1], smooth(found[-1]), 1.0, 1.0))
    return found


def test_regularized_evolution_removes_the_oldest_however_good() -> None:
    strategy = RegularizedEvolution(problem([4] * 5), RegularizedEvolutionSettings(population=3, sample=1))
    archs = [strategy.problem.space.random(strategy.rng) for _ in range(4)]
    for arch, accuracy in zip(archs, (1.0, 0.2, 0.3, 0.1), strict=True):
        strategy.tell(Trial(arch, accuracy, 1.0, 1.0))
    assert [trial.accuracy for trial in strategy.population] == [0.2, 0.3, 0.1]


def test_regularized_evolution_changes_one_choice_of_the_tournament_s_best() -> None:
    strategy = RegularizedEvolution(
        problem([4] * 5, tightness=0.0), RegularizedEvolutionSettings(population=2, sample=50)
    )
    good, bad = (1, 1, 1, 1, 1), (3, 3, 3, 3, 3)
    strategy.tell(Trial(bad, 0.1, 1.0, 1.0))
    strategy.tell(Trial(good, 0.9, 1.0, 1.0))
    for _ in range(20):
        assert sum(a != b for a, b in zip(strategy.ask(), good, strict=True)) == 1


def test_local_search_judges_all_neighbours_and_moves_to_the_best() -> None:
    strategy = LocalSearch(problem([3, 3, 3], tightness=0.0), LocalSearchSettings())
    (start,) = asked(strategy, 1)
    around = asked(strategy, 6)
    assert len(set(around)) == 6 and all(_distance(start, arch) == 1 for arch in around)
    highest = max(map(smooth, [start, *around]))
    following = strategy.ask()
    best = [arch for arch in around if smooth(arch) == highest]
    assert smooth(start) == highest or any(_distance(arch, following) == 1 for arch in best)


def test_local_search_ends_in_a_peak_and_starts_again() -> None:
    strategy = LocalSearch(problem([4] * 4, tightness=0.0), LocalSearchSettings())
    archs = asked(strategy, 120)
    assert max(map(smooth, archs)) == smooth((2, 2, 2, 2))
    assert len(set(archs)) == len(archs)


def test_local_search_does_not_go_to_and_fro_between_equals() -> None:
    strategy = LocalSearch(problem([3, 3], tightness=0.0), LocalSearchSettings())
    for _ in range(20):
        strategy.tell(Trial(strategy.ask(), 0.5, 1.0, 1.0))
    assert len(strategy.accuracy) == 9


def test_reinforce_makes_what_was_rewarded_more_likely() -> None:
    for reward, rises in ((0.9, True), (0.1, False)):
        strategy = NasRl(problem([3] * 4), NasRlSettings())
        strategy.baseline = 0.5**3
        arch = strategy.ask()
        before = strategy.controller.log_probability([arch]).item()
        strategy.tell(Trial(arch, reward, 1.0, 1.0))
        assert (strategy.controller.log_probability([arch]).item() > before) == rises


def test_reinforce_baseline_is_a_moving_average_of_cubed_accuracies() -> None:
    strategy = NasRl(problem([3] * 4), NasRlSettings(baseline_decay=0.75))
    for accuracy in (0.5, 1.0):
        strategy.tell(Trial(strategy.ask(), accuracy, 1.0, 1.0))
    assert strategy.baseline == pytest.approx(0.75 * 0.125 + 0.25)


def test_the_controller_s_probabilities_are_of_what_it_emits() -> None:
    strategy = NasRl(problem([2, 3], tightness=0.0), NasRlSettings())
    with torch.no_grad():
        archs = [(a, b) for a in range(2) for b in range(3)]
        every = dict(zip(archs, strategy.controller.log_probability(archs).exp().tolist(), strict=True))
    assert sum(every.values()) == pytest.approx(1, abs=1e-5)
    drawn = strategy.controller.sample(strategy.generator, 600)
    for arch, probability in every.items():
        assert drawn.count(arch) / 600 == pytest.approx(probability, abs=0.07)


def test_nao_learns_to_decode_what_it_embeds_and_where_uphill_is() -> None:
    strategy = Nao(problem([4] * 4, tightness=0.0), NaoSettings(batch=30, epochs=300, parents=5))
    archs = asked(strategy, 30)
    strategy._fit()
    embedding = strategy.model.encode(torch.tensor(archs))
    decoded = strategy.model.decode(embedding)
    assert sum(a == b for a, b in zip(decoded, archs, strict=True)) > 20
    predicted = strategy.model.predict(embedding).detach().numpy()
    assert np.corrcoef(predicted, [smooth(arch) for arch in archs])[0, 1] > 0.9


def test_guided_never_asks_for_one_function_twice() -> None:
    class Halves(PaperSpace):
        def function(self, arch: Arch) -> Arch:
            return tuple(sorted(arch))

    widths = [4] * 5
    space = Halves(widths, one_operator_an_option(widths))
    for limit in (50_000, 0):  # every network compared; a pool
        strategy = Guided(paper_problem(space, prices(20, 1), 0.3), GuidedSettings(exhaustive=limit, start=4))
        archs = asked(strategy, 30)
        assert len({tuple(sorted(arch)) for arch in archs}) == 30


def test_guided_finds_the_best_within_the_budget_in_few_queries() -> None:
    for limit in (50_000, 0):
        task = problem([5] * 6, tightness=0.5)
        best = max(distinct_feasible(task), key=smooth)
        archs = asked(Guided(task, GuidedSettings(exhaustive=limit, start=8)), 60)
        assert max(map(smooth, archs)) == smooth(best), "of 15,625 networks, 60 queries did not find the best"


def test_guided_takes_the_fastest_of_those_that_compute_the_same() -> None:
    class AllTheSame(PaperSpace):
        def function(self, arch: Arch) -> int:
            return 0

    space = AllTheSame([4] * 3, one_operator_an_option([4] * 3))
    task = paper_problem(space, prices(12, 1), 0.0)
    (only,) = distinct_feasible(task)
    assert task.latency.predict(only) == min(task.latency.predict(arch) for arch in map(tuple, np.ndindex(4, 4, 4)))


def test_guided_on_a_space_too_large_to_compare_keeps_the_budget() -> None:
    task = problem([6] * 12, tightness=0.6)
    archs = asked(Guided(task, GuidedSettings(start=5)), 12)
    assert all(task.feasible(arch) for arch in archs) and len(set(archs)) == 12


def test_the_gaussian_process_is_scikit_learn_s() -> None:
    """Updated one by one or fitted at once: the same mean and deviation for the same kernel."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4))
    values = np.sin(features).sum(axis=1)
    process, observed = GaussianProcess(features), []
    for number in range(17):
        process.observe(3 * number)
        observed.append(3 * number)
        y = values[observed]
        y = (y - y.mean()) / max(y.std(), 1e-9)
        mean, deviation = process.posterior(y)
    length = process._length * np.sqrt(process._scale)
    scale = float(y @ np.linalg.solve(RBF(length)(features[observed]) + process._noise * np.eye(17), y)) / 17
    kernel = ConstantKernel(scale) * RBF(length)
    reference = GaussianProcessRegressor(kernel, alpha=scale * process._noise, optimizer=None).fit(
        features[observed], y
    )
    expected, spread = reference.predict(features, return_std=True)
    assert np.allclose(mean, expected, atol=1e-6) and np.allclose(deviation, spread, atol=1e-5)


def _distance(a: Arch, b: Arch) -> int:
    return sum(x != y for x, y in zip(a, b, strict=True))


@pytest.mark.skipif("HWNAS_DATA" not in os.environ, reason="HWNAS_DATA is not set")
@pytest.mark.parametrize(
    "experiment", ["optimum", *(pytest.param(name, marks=pytest.mark.slow) for name in ("simulated", "constrained"))]
)
def test_the_benchmark_runs_and_resumes(experiment: str, tmp_path: Path) -> None:
    if not (Path(os.environ["HWNAS_DATA"]) / "nb201").is_dir():
        pytest.skip("HWNAS_DATA has no nb201/")
    script = Path(__file__).parent.parent / "benchmarks" / "nasbench201.py"
    command = [
        sys.executable,
        script,
        experiment,
        "--seeds",
        "1",
        "--methods",
        "nas-rl" if experiment == "constrained" else "guided",
    ]
    first, second = (
        subprocess.run([*command, "--out", tmp_path], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert first == second and "| " in first
    lines = (tmp_path / f"{experiment}.jsonl").read_text().splitlines()
    assert len(lines) == (12 if experiment == "constrained" else 1)
