"""The table that a run ends with, as text."""

from hwnas.run.result import AlsoOn, NetworkResult, Result


def rows(result: Result) -> list[tuple[str, NetworkResult]]:
    """The winner and what it is compared with, by role."""
    shared = NetworkResult.model_fields.keys() & Result.model_fields.keys()
    winner = NetworkResult(**{name: getattr(result, name) for name in shared})
    return [("winner", winner), *_rivals(result)]


def rows_there(result: Result, there: AlsoOn) -> list[tuple[str, NetworkResult]]:
    """As `rows`, on another of the run's targets."""
    (_, winner), *_ = rows(result)
    shared = NetworkResult.model_fields.keys() & AlsoOn.model_fields.keys()
    return [("winner", winner.model_copy(update={name: getattr(there, name) for name in shared})), *_rivals(there)]


def _rivals(of: Result | AlsoOn) -> list[tuple[str, NetworkResult]]:
    found = {"reference": of.reference, "reference scaled": of.reference_scaled, "random search": of.random}
    return [(role, network) for role, network in found.items() if network is not None]


def summary(result: Result) -> str:
    """Accuracy on the test split, latencies in ms, parameters and multiply-accumulates in millions."""
    lines = [*_table(rows(result), result.verb), _verdict(result)]
    if result.predicted_operators:
        lines.append(f"{result.predicted_operators} of the space's operators were predicted, not timed")
    if result.energy_mj is not None:
        lines.append(f"energy {result.energy_mj:.4g} mJ a run ({result.energy_meter})")
    elif result.energy_meter:
        lines.append(f"energy: {result.energy_meter}")
    for there in result.also_on:
        lines += [f"on {there.target}:", *_table(rows_there(result, there), there.verb), _verdict(there)]
    return "\n".join(lines)


def _table(networks: list[tuple[str, NetworkResult]], verb: str) -> list[str]:
    lines = [f"{'':<18}{'accuracy':>9}{'predicted':>11}{verb:>10}{'p90':>8}{'params':>9}{'MACs':>8}"]
    for role, network in networks:
        measured = network.measured_ms
        cells = [
            f"{role:<18}",
            f"{100 * network.accuracy:>8.2f}%" if network.accuracy is not None else f"{'-':>9}",
            f"{network.predicted_ms:>11.4f}" if network.predicted_ms is not None else f"{'-':>11}",
            f"{measured.median:>10.4f}{measured.p90:>8.4f}" if measured else f"{'-':>10}{'-':>8}",
            f"{network.params / 1e6:>8.3f}M{network.macs / 1e6:>7.2f}M",
        ]
        lines.append("".join(cells))
    judged = [f"{role} {network.perplexity:.2f}" for role, network in networks if network.perplexity is not None]
    return [*lines, f"test perplexity: {', '.join(judged)}"] if judged else lines


def _verdict(of: Result | AlsoOn) -> str:
    kept = {True: f"within budget, {of.known}", False: f"OVER BUDGET, {of.known}", None: "not known yet"}
    return f"budget {of.budget} = {of.budget_ms:.4f} ms: {of.latency_origin or kept[of.within_budget]}"
