"""Several targets at once: every budget binds, and each is measured, against looking at every network."""

import json
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from conftest import TINY, hwnas
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.arch import Arch
from hwnas.core.errors import BadInput, Infeasible
from hwnas.latency.model import LatencyModel
from hwnas.latency.tabular import TabularLatency
from hwnas.run.config import resolve
from hwnas.search.on_target import OnTarget
from hwnas.search.problem import Problem
from hwnas.search.strategies.enas import Enas, EnasSettings
from hwnas.search.trial import Trial, pareto
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, paper_table, prices


class Case:
    """A space on two targets with milliseconds of their own; the second is a sum, or known only network by network."""

    def __init__(self, seed: int, loose: tuple[float, float], is_sum: bool) -> None:
        rng = np.random.default_rng(seed)
        widths = rng.integers(2, 5, rng.integers(2, 5)).tolist()
        conditions = one_operator_an_option(widths)
        self.space = PaperSpace(widths, conditions)
        self.archs: list[Arch] = list(product(*map(range, widths)))
        first = paper_problem(self.space, prices(len(conditions), seed), 1 - loose[0], seed)
        second = self._second(prices(len(conditions), seed + 1), rng, is_sum)
        low, high = np.quantile([second.predict(a) for a in self.archs], [0, loose[1]])
        budget_ms = max(low, high) * second.margin * (1 + 1e-9)
        self.problem = Problem(self.space, first.latency, first.budget_ms, seed, others=(OnTarget(second, budget_ms),))
        self.scores = [rng.normal(size=w) for w in widths]

    def _second(self, ms: list[float], rng: np.random.Generator, is_sum: bool) -> LatencyModel:
        model = LatencyModel(self.space, paper_table(self.space, ms))
        if is_sum:
            return model
        archs = np.array(self.archs)
        bent = model.predict_many(archs) * rng.uniform(0.97, 1.03, len(archs))
        return TabularLatency(self.space, archs, bent, paper_table(self.space, ms))

    def fits(self) -> list[Arch]:
        return [
            arch
            for arch in self.archs
            if all(t.latency.predict(arch) <= t.budget_ms / t.latency.margin for t in self.problem.targets)
        ]


shares = st.floats(0.02, 1)
cases = st.builds(Case, st.integers(0, 100_000), st.tuples(shares, shares), st.booleans())


@settings(max_examples=20, deadline=None)
@given(case=cases)
def test_what_is_found_keeps_every_budget(case: Case) -> None:
    problem, fitting, rng = case.problem, case.fits(), Random(0)
    assert [a for a in case.archs if problem.feasible(a)] == fitting
    assert problem.feasible_many(np.array(case.archs)).tolist() == [a in fitting for a in case.archs]
    assert all((problem.binding_ms(a) <= problem.limit_ms * (1 + 1e-12)) == (a in fitting) for a in case.archs)
    found = problem.project(case.scores, 3)
    assert all(arch in fitting for arch in found)
    if problem._is_sum:

        def score(arch: Arch) -> float:
            return float(sum(s[option] for s, option in zip(case.scores, arch, strict=True)))

        best = sorted(map(score, fitting), reverse=True)[:3]
        assert [score(arch) for arch in found] == pytest.approx(best, abs=1e-5)
    if fitting and problem._cheapest in fitting:
        problem.check_feasible()
        assert all(problem.sample(rng) in fitting for _ in range(5))
        repaired = problem.repair(case.space.random(rng), rng)
        assert repaired is None or repaired in fitting


@settings(max_examples=20, deadline=None)
@given(case=st.builds(Case, st.integers(0, 100_000), st.tuples(shares, shares), st.just(True)))
def test_budgets_that_exclude_each_other_are_refused_with_each_range(case: Case) -> None:
    problem = case.problem
    if case.fits():
        problem.check_feasible()
        return
    with pytest.raises(Infeasible) as caught:
        problem.check_feasible()
    assert caught.value.exit_code == 3
    for target in problem.targets:
        reached = [target.latency.predict_p95(arch) for arch in case.archs]
        assert f"{min(reached):.4g} to {max(reached):.4g} ms (budget {target.budget_ms:.4g} ms)" in caught.value.what
    within = [a for a in case.archs if problem.others[0].holds(a)]
    least = min(problem.latency.predict_p95(a) for a in within)
    assert f"{least:.4g} ms at least" in caught.value.what


def test_the_soft_term_follows_the_worst_target() -> None:
    """Its gradient is that of the target over its budget, as large as if it was the only one."""
    space = PaperSpace([2, 2], one_operator_an_option([2, 2]))
    first = LatencyModel(space, paper_table(space, [1.0, 2.0, 1.0, 2.0]))
    second = LatencyModel(space, paper_table(space, [20.0, 10.0, 20.0, 10.0]))
    problem = Problem(space, first, 4.0, 0, others=(OnTarget(second, 20.0),))
    p = torch.tensor([0.9, 0.1], dtype=torch.float64, requires_grad=True)
    problem.expected_ms([p, p]).backward()
    ratio = problem.limit_ms / problem.others[0].limit_ms
    assert p.grad is not None and torch.allclose(p.grad, ratio * torch.tensor([40.0, 20.0], dtype=torch.float64))


def test_enas_tells_of_the_target_nearest_to_its_budget() -> None:
    space = PaperSpace([2, 2], one_operator_an_option([2, 2]))
    first = LatencyModel(space, paper_table(space, [1.0, 2.0, 1.0, 2.0]))
    second = LatencyModel(space, paper_table(space, [20.0, 10.0, 20.0, 10.0]))
    told = []
    for budget_ms in (20.0, 1e9):
        problem = Problem(space, first, 4.0, 0, others=(OnTarget(second, budget_ms),))
        facts = Enas(problem, EnasSettings(), epochs=1).facts()
        told.append(facts["expected"] / facts["limit"])
    assert told[0] > 1 > told[1], "the second target's excess, then what the first has left"


def test_the_front_is_across_targets() -> None:
    trials = [
        Trial((0,), 0.9, 1.0, 1.0, (5.0,)),
        Trial((1,), 0.9, 2.0, 2.0, (4.0,)),  # slower on the first, faster on the second
        Trial((2,), 0.8, 2.0, 2.0, (5.0,)),
        Trial((3,), 0.95, 3.0, 3.0, (6.0,)),
    ]
    assert [trial.arch for trial in pareto(trials)] == [(0,), (1,), (3,)]
    assert [Trial.of(json.loads(json.dumps(trial.facts()))) for trial in trials] == trials


def test_each_budget_by_its_target() -> None:
    from hwnas.run.config import overrides

    both = ["cpu", "cpu-int8"]
    config = resolve(overrides(target=both, budget="cpu-int8=12ms@p90, cpu=40%"))
    assert [(each.target.name, each.budget) for each in config.each()] == [("cpu", "40%"), ("cpu-int8", "12ms@p90")]
    assert [each.budget for each in resolve(overrides(target=both, budget="3ms")).each()] == ["3ms", "3ms"]
    assert [each.budget for each in resolve(overrides(target=both)).each()] == ["60%", "60%"]
    assert resolve(overrides(target=["cpu"], budget="cpu=3ms")) == resolve({"budget": "3ms"})
    for budget in ("cpu=3ms", "cpu=3ms,gpu=3ms", "cpu=3ms,cpu-int8=fast"):
        with pytest.raises(BadInput):
            resolve(overrides(target=both, budget=budget))
    with pytest.raises(BadInput, match="twice"):
        resolve(overrides(target=["cpu", "cpu"]))


def test_a_search_for_two_targets(workspace: Path) -> None:
    command = ("search", "--config", "tiny.yaml", "--target", "cpu", "--target", "cpu-int8", "--out", "r", "--json")
    command += ("--budget", "cpu=1ms,cpu-int8=2ms", "--strategy", "random", "--set", "strategy.trials=3")
    outcome = hwnas(*command)
    assert outcome.code == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    (there,) = result["also_on"]
    assert (there["target"], there["precision"], there["budget_ms"]) == ("cpu-int8", "int8", 2.0)
    assert there["predicted_ms"] not in (result["predicted_ms"], None) and there["within_budget"] is None
    assert all(len(point["others_ms"]) == 1 for point in result["pareto"])
    assert hwnas("report", "r").code == 0
    page = Path("r/report.html").read_text()
    assert "On cpu-int8" in page and '"pareto-1"' in page
    impossible = hwnas(*command, "--budget", "cpu=1ms,cpu-int8=0.0001ms", "--out", "r2")
    assert impossible.code == 3 and "on cpu-int8" in impossible.stderr and "cpu-int8=" in impossible.stderr


@pytest.mark.slow
def test_one_network_for_two_targets(workspace: Path) -> None:
    """A whole run: timed, searched, measured, tested and shipped for both."""
    command = ("run", "--config", "tiny.yaml", "--target", "cpu", "--target", "cpu-int8", "--out", "r", "--json")
    outcome = hwnas(*command, "--budget", "cpu=1ms,cpu-int8=2ms", "--strategy", "random", "--set", "strategy.trials=3")
    assert outcome.code == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    (there,) = result["also_on"]
    assert (there["target"], there["precision"]) == ("cpu-int8", "int8")
    assert (result["budget_ms"], there["budget_ms"]) == (1.0, 2.0)
    for facts in (result, there):
        assert facts["within_budget"] and facts["measured_ms"]["median"] <= facts["budget_ms"]
        assert facts["reference"]["accuracy"] is not None and facts["reference"]["measured_ms"]["n"] > 0
    assert there["predicted_ms"] != result["predicted_ms"]
    assert all(len(point["others_ms"]) == 1 for point in result["pareto"])
    for bundle, target in (("bundle", "cpu"), ("bundle-cpu-int8", "cpu-int8")):
        manifest = json.loads((Path("r") / bundle / "manifest.json").read_text())
        assert manifest["target"]["name"] == target
        assert hwnas("verify", f"r/{bundle}").code == 0
    page = Path("r/report.html").read_text()
    assert "On cpu-int8" in page and '"pareto-1"' in page
    assert "on cpu-int8:" in outcome.stdout
    before = Path("r/journal.jsonl").read_bytes()
    again = hwnas(*command, "--budget", "cpu=1ms,cpu-int8=2ms", "--strategy", "random", "--set", "strategy.trials=3")
    assert json.loads(again.stdout.splitlines()[-1]) == result
    assert Path("r/journal.jsonl").read_bytes() == before


def test_a_comparison_takes_one_target(bare: Path) -> None:
    (bare / "two.yaml").write_text(json.dumps(TINY | {"also_on": [{"target": "cpu-int8"}]}))
    refused = hwnas("compare", "--config", "two.yaml")
    assert refused.code == 2 and "one target" in refused.stderr
