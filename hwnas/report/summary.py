"""The table that a run ends with, as text."""

from hwnas.run.result import NetworkResult, Result


def rows(result: Result) -> list[tuple[str, NetworkResult]]:
    """The winner and what it is compared with, by role."""
    shared = NetworkResult.model_fields.keys() & Result.model_fields.keys()
    winner = NetworkResult(**{name: getattr(result, name) for name in shared})
    others = {
        "reference": result.reference,
        "reference scaled": result.reference_scaled,
        "random search": result.random,
    }
    return [("winner", winner), *((role, network) for role, network in others.items() if network is not None)]


def summary(result: Result) -> str:
    """Accuracy on the test split, latencies in ms, parameters and multiply-accumulates in millions."""
    header = f"{'':<18}{'accuracy':>9}{'predicted':>11}{result.verb:>10}{'p90':>8}{'params':>9}{'MACs':>8}"
    lines = [header]
    for role, network in rows(result):
        measured = network.measured_ms
        cells = [
            f"{role:<18}",
            f"{100 * network.accuracy:>8.2f}%" if network.accuracy is not None else f"{'-':>9}",
            f"{network.predicted_ms:>11.4f}" if network.predicted_ms is not None else f"{'-':>11}",
            f"{measured.median:>10.4f}{measured.p90:>8.4f}" if measured else f"{'-':>10}{'-':>8}",
            f"{network.params / 1e6:>8.3f}M{network.macs / 1e6:>7.2f}M",
        ]
        lines.append("".join(cells))
    judged = [f"{role} {network.perplexity:.2f}" for role, network in rows(result) if network.perplexity is not None]
    if judged:
        lines.append(f"test perplexity: {', '.join(judged)}")
    kept = {True: f"within budget, {result.known}", False: f"OVER BUDGET, {result.known}", None: "not known yet"}
    verdict = result.latency_origin or kept[result.within_budget]
    lines.append(f"budget {result.budget} = {result.budget_ms:.4f} ms: {verdict}")
    if result.predicted_operators:
        lines.append(f"{result.predicted_operators} of the space's operators were predicted, not timed")
    if result.energy_mj is not None:
        lines.append(f"energy {result.energy_mj:.4g} mJ a run ({result.energy_meter})")
    elif result.energy_meter:
        lines.append(f"energy: {result.energy_meter}")
    return "\n".join(lines)
