"""Bounds on computed costs against looking at every network of small spaces."""

import json
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import pytest
import yaml
from conftest import hwnas
from hypothesis import given, settings
from hypothesis import strategies as st
from proxyless_lut import proxyless_yaml

from hwnas.core.arch import Arch
from hwnas.core.errors import Infeasible
from hwnas.latency.model import LatencyModel
from hwnas.operators.opspec import OpSpec
from hwnas.search.bounds import Bounds, Limit
from hwnas.search.problem import Problem
from hwnas.spaces import every_arch
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.paper import PaperSpace, one_operator_an_option, paper_problem, paper_table, prices

GAP = 1e-5


class Case:
    """A space with milliseconds and two computed costs, one a sum and one a maximum, and all its networks."""

    def __init__(self, seed: int, constrained: bool, tightness: float) -> None:
        rng = np.random.default_rng(seed)
        widths = rng.integers(2, 5, rng.integers(2, 5)).tolist()
        conditions = [((c, o),) for c, w in enumerate(widths) for o in range(w)] + [()]
        for _ in range(rng.integers(0, 6)):
            choices = sorted(rng.choice(len(widths), min(len(widths), int(rng.integers(2, 4))), replace=False).tolist())
            conditions.append(tuple((c, int(rng.integers(widths[c]))) for c in choices))
        allowed = (lambda arch: sum(arch) % 3 != 1) if constrained else (lambda arch: True)
        self.space = PaperSpace(widths, conditions, allowed)
        self.values = {
            "macs": rng.integers(1, 10**8, len(conditions)).astype(float),
            "peak_memory_kib": rng.integers(1, 50, len(conditions)).astype(float),
        }
        self.archs: list[Arch] = [a for a in product(*map(range, widths)) if self.space.valid(a)]
        self.problem = paper_problem(self.space, prices(len(conditions), seed), tightness, seed)
        self.scores = [rng.normal(size=w) for w in widths]

    def cost(self, name: str, arch: Arch) -> float:
        on = [v for v, c in zip(self.values[name], self.space.operators(), strict=True) if self.switched(arch, c.when)]
        return sum(on) if name == "macs" else max(on)

    @staticmethod
    def switched(arch: Arch, when: tuple[tuple[int, int], ...]) -> bool:
        return all(arch[choice] == option for choice, option in when)

    def bounded(self, **most: float) -> Problem:
        def price(name: str):
            return lambda spec: float(self.values[name][spec.attributes()["number"]])

        limits = tuple(Limit(self.space, name, value, price(name)) for name, value in most.items())
        return Problem(self.space, self.problem.latency, self.problem.budget_ms, self.problem.seed, limits)

    def quantiles(self, macs: float, peak: float) -> dict[str, float]:
        """Bounds that these shares of all networks keep, each for itself; met exactly by some."""
        shares = {"macs": macs, "peak_memory_kib": peak}
        costs = {name: sorted(self.cost(name, arch) for arch in self.archs) for name in shares}
        return {name: costs[name][int(share * (len(costs[name]) - 1))] for name, share in shares.items()}

    def within(self, most: dict[str, float]) -> list[Arch]:
        return [a for a in self.archs if all(self.cost(name, a) <= value for name, value in most.items())]


shares = st.floats(0, 1)
cases = st.builds(Case, st.integers(0, 100_000), st.booleans(), st.floats(0, 0.9))


@settings(max_examples=40, deadline=None)
@given(case=cases, macs=shares, peak=shares, count=st.sampled_from([1, 4]))
def test_projection_and_feasibility_are_exact(case: Case, macs: float, peak: float, count: int) -> None:
    most = case.quantiles(macs, peak)
    problem = case.bounded(**most)
    feasible = [a for a in case.within(most) if case.problem.feasible(a)]
    assert [a for a in case.archs if problem.feasible(a)] == feasible

    def score(arch: Arch) -> float:
        return float(sum(s[option] for s, option in zip(case.scores, arch, strict=True)))

    found = problem.project(case.scores, count)
    assert all(problem.feasible(arch) for arch in found)
    assert [score(a) for a in found] == pytest.approx(sorted(map(score, feasible), reverse=True)[:count], abs=GAP)


@settings(max_examples=30, deadline=None)
@given(case=cases, macs=shares, peak=shares)
def test_an_impossible_bound_names_the_range_that_is_reached(case: Case, macs: float, peak: float) -> None:
    most = case.quantiles(macs, peak)
    problem = case.bounded(**most)
    if any(map(problem.feasible, case.archs)):
        problem.check_feasible()
        return
    with pytest.raises(Infeasible) as caught:
        problem.check_feasible()
    assert caught.value.exit_code == 3
    within: dict[str, float] = {}
    for name, value in most.items():
        reached = [case.cost(name, arch) for arch in case.within(within)]
        if min(reached) > value:
            assert f"it reaches {min(reached):,.10g} to " in caught.value.what
            assert f"--set bounds.{name}=" in caught.value.mend
            return
        within[name] = value
    reached = [case.problem.latency.predict_p95(arch) for arch in case.within(most)]
    assert f"it reaches {min(reached):.4g} to {max(reached):.4g} ms" in caught.value.what


def test_where_only_noise_stands_between_space_and_budget_another_profile_is_advised() -> None:
    rng = np.random.default_rng(0)
    space = PaperSpace([3, 3, 3], one_operator_an_option([3, 3, 3]))
    noisy = paper_table(space, prices(9, 1), lambda total, number: total * rng.uniform(0.7, 1.3))
    latency = LatencyModel(space, noisy)
    fastest_ms = min(latency.predict(arch) for arch in map(tuple, every_arch(space).tolist()))
    for factor, advised in ((1.05, True), (0.9, False)):
        with pytest.raises(Infeasible) as caught:
            Problem(space, latency, factor * fastest_ms, 0).check_feasible()
        assert ("profile --target paper --fresh" in caught.value.mend) == advised


@settings(max_examples=30, deadline=None)
@given(case=cases, macs=shares, peak=shares)
def test_samples_and_repairs_keep_every_bound(case: Case, macs: float, peak: float) -> None:
    problem, rng = case.bounded(**case.quantiles(macs, peak)), Random(0)
    if not any(map(problem.feasible, case.archs)):
        return
    for _ in range(5):
        assert problem.feasible(problem.sample(rng))
        repaired = problem.repair(case.space.random(rng), rng)
        assert repaired is None or problem.feasible(repaired)


def test_samples_under_bounds_are_not_all_alike() -> None:
    widths = [5] * 10
    conditions = [((c, o),) for c, w in enumerate(widths) for o in range(w)]
    space, rng = PaperSpace(widths, conditions), np.random.default_rng(0)
    values = rng.uniform(1, 10, len(conditions))
    free = paper_problem(space, prices(50, 0), tightness=0.5)
    limit = Limit(space, "params", 40.0, lambda spec: float(values[spec.attributes()["number"]]))
    problem, draws = Problem(space, free.latency, free.budget_ms, 0, (limit,)), Random(0)
    assert sum(limit.holds(space.random(draws)) for _ in range(200)) < 20
    assert len({problem.sample(draws) for _ in range(50)}) > 40


def test_the_limits_of_a_space() -> None:
    space = Mobile(MobileSettings(resolution=16, widths=(8,), depths=(2,), strides=(1,), head_width=16), 1, 10)
    bounds = Bounds(params=10**9, macs=10**9, size_kib=10**6, peak_memory_kib=10**6)
    arch = space.reference()
    found = {limit.name: limit for limit in bounds.limits(space, "int8")}
    assert found["params"].additive.sum(arch) == space.params(arch) == 1024 * found["size_kib"].additive.sum(arch)
    assert found["macs"].additive.sum(arch) == space.macs(arch)
    assert all(limit.holds(arch) for limit in found.values())
    halved = Bounds(size_kib=space.params(arch) / 1024).limits(space, "fp32")
    assert not halved[0].holds(arch)
    assert Bounds().limits(space, "fp32") == ()


def test_an_operator_above_the_memory_bound_is_never_chosen() -> None:
    space = Mobile(MobileSettings(resolution=16, widths=(8, 16), depths=(2, 2), strides=(1, 2)), 1, 10)
    memory = Bounds(peak_memory_kib=10**6).limits(space, "int8")[0].values
    levels = np.unique(memory)
    (limit,) = Bounds(peak_memory_kib=float(levels[len(levels) // 2])).limits(space, "int8")
    by_spec: dict[OpSpec, float] = {c.spec: m for c, m in zip(space.operators(), memory, strict=True)}
    rng = Random(0)
    for _ in range(100):
        arch = space.random(rng)
        assert limit.holds(arch) == (max(by_spec[spec] for spec in space.ops(arch)) <= limit.most)


@pytest.fixture
def searching(bare: Path, tiny_space: Mobile) -> tuple[object, ...]:
    """A search that needs no profile: on a table imported."""
    (bare / "lut.yaml").write_text(yaml.safe_dump(proxyless_yaml(tiny_space)))
    assert hwnas("table", "import", "lut.yaml", "--format", "proxylessnas", "--unit", "ms", "--as", "paper").code == 0
    return ("search", "--config", "tiny.yaml", "--target", "paper", "--json", "--quiet", "--out")


@pytest.mark.parametrize("strategy", ["proxyless", "random"])
def test_a_search_keeps_its_bounds(searching: tuple[object, ...], tiny_space: Mobile, strategy: str) -> None:
    archs = [tuple(a) for a in product(*(range(len(c.options)) for c in tiny_space.choices))]
    most = sorted(map(tiny_space.params, archs))[len(archs) // 5]
    bounds = ("--set", f"bounds.params={most}", "--set", "bounds.peak_memory_kib=64", "--strategy", strategy)
    outcome = hwnas(*searching, "r", *bounds)
    assert outcome.code == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert result["params"] <= most
    assert result["peak_memory_bytes"] <= 64 * 1024
    assert all(tiny_space.params(tuple(point["arch"])) <= most for point in result["pareto"])


def test_bounds_that_nothing_keeps(searching: tuple[object, ...], tiny_space: Mobile) -> None:
    archs = [tuple(a) for a in product(*(range(len(c.options)) for c in tiny_space.choices))]
    low, high = (end(map(tiny_space.params, archs)) for end in (min, max))
    outcome = hwnas(*searching, "r", "--set", f"bounds.params={low - 1}")
    assert outcome.code == 3
    assert f"it reaches {low:,} to {high:,}" in outcome.stderr
    assert f"--set bounds.params={low} or more" in outcome.stderr
    assert hwnas(*searching, "r2", "--set", "bounds.params=0").code == 2
    assert hwnas(*searching, "r3", "--set", "bounds.parameters=10").code == 2
