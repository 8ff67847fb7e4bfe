"""What to say when no network keeps every budget: what the space reaches."""

from collections.abc import Sequence

from hwnas.core.arch import Arch
from hwnas.core.errors import Infeasible
from hwnas.search.bounds import Limit
from hwnas.search.on_target import OnTarget
from hwnas.search.projection import extreme
from hwnas.spaces import Space


def out_of_reach(
    space: Space, targets: Sequence[OnTarget], limits: Sequence[Limit], cheapest: Arch | None
) -> Infeasible:
    """With the range of latencies on each target, all of them within `limits`. `cheapest`: on the first target, of the
    networks within the other budgets; None where there is none.
    """
    reached = [_reach(space, target, limits) for target in targets]
    ranges = [f"{low:.4g} to {high:.4g} ms" for low, high in reached]
    first, lows = targets[0], [low for low, _ in reached]
    if len(targets) == 1:
        return Infeasible(
            f"no network of the space fits {first.budget_ms:.4g} ms: it reaches {ranges[0]}",
            f"--budget {1.05 * lows[0]:.3g}ms or more, or a smaller space{_doubt(first, lows[0])}",
        )
    told = [f"{t.name} {span} (budget {t.budget_ms:.4g} ms)" for t, span in zip(targets, ranges, strict=True)]
    if cheapest is not None and all(low <= target.budget_ms for low, target in zip(lows, targets, strict=True)):
        lows[0] = first.latency.predict_p95(cheapest)
        told.append(f"but within the other budgets, on {first.name}, {lows[0]:.4g} ms at least")
    needed = [max(1.05 * low, t.budget_ms) for low, t in zip(lows, targets, strict=True)]
    return Infeasible(
        f"no network of the space keeps all budgets: it reaches on {'; on '.join(told)}",
        f"--budget {','.join(f'{t.name}={ms:.3g}ms' for t, ms in zip(targets, needed, strict=True))} or more, "
        "or a smaller space",
    )


def _doubt(target: OnTarget, low_ms: float) -> str:
    """What to add where only the profile's own noise keeps the fastest network, `low_ms` at worst, from the budget."""
    predicted_ms, more = low_ms / target.latency.margin, target.latency.margin - 1
    if not predicted_ms <= target.budget_ms < low_ms:
        return ""
    doubt = f"{predicted_ms:.4g} ms is predicted, but by a noisy profile: it may take {more:.0%} more"
    return f"; or hwnas profile --target {target.name} --fresh, on a quieter machine ({doubt})"


def _reach(space: Space, target: OnTarget, limits: Sequence[Limit]) -> tuple[float, float]:
    """ms, whatever the other budgets say."""
    ends = (extreme(space, target.additive, end, [limit.bound for limit in limits]) for end in (True, False))
    low, high = (target.latency.predict_p95(arch) for arch in ends)
    return low, high
