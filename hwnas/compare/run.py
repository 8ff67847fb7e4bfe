"""Does what of the matrix is not done yet, and gathers its outcomes.

A search of published accuracies is a record in `journal.jsonl`, kept by this process alone; any other cell is a run
directory. So the same command goes on from wherever it was killed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.compare.cells import Cell, Matrix
from hwnas.compare.outcome import Outcome, of_record, of_run, references
from hwnas.compare.truth import Truth
from hwnas.compare.work import advance, problem, search
from hwnas.core.errors import Unavailable
from hwnas.core.journal import Journal
from hwnas.core.progress import Progress, say
from hwnas.run.directory import held, stored_config
from hwnas.run.judging import pool_of
from hwnas.workers.pool import Failure, Task

TOGETHER, ALONE = "together", "alone"
STAGES = {"search": TOGETHER, "select": ALONE, "train": TOGETHER, "finish": ALONE}
"""Several searches or trainings may run at once; what is timed has the machine to itself."""


@dataclass(frozen=True)
class Compared:
    """`outcomes`: of strategies and references, judged. `failed`: cell → why it has no outcome. `truths`: by budget,
    where there are any.
    """

    matrix: Matrix
    outcomes: list[Outcome]
    failed: dict[str, str]
    truths: dict[str, Truth]

    def progress(self, outcomes: Sequence[Outcome]) -> list[float]:
        """The true accuracy of the best so far after every query, mean over searches of equal length and one budget."""
        truth, steps = self.truths[outcomes[0].budget], max(outcome.queries for outcome in outcomes)
        return np.mean([truth.progress(outcome, steps) for outcome in outcomes], axis=0).tolist()


def compare(matrix: Matrix) -> Compared:
    """By as many workers as the configuration says. Raises Infeasible before any search when nothing fits one of the
    budgets, BadInput when the folder is in use."""
    looked_up = [cell for cell in matrix.cells if cell.is_looked_up]
    runs = [cell for cell in matrix.cells if not cell.is_looked_up]
    _check(matrix)
    lock = held(matrix.path)
    try:
        records = _look_up(looked_up, matrix.path)
        failed = _run(runs, matrix.path)
    finally:
        lock.release()
    outcomes = {cell.name: of_record(cell, records[cell.digest]) for cell in looked_up}
    outcomes |= {cell.name: of_run(cell) for cell in runs if cell.name not in failed}
    in_order = [outcomes[cell.name] for cell in matrix.cells if cell.name in outcomes]
    if not matrix.cells[0].has_truth:
        return Compared(matrix, [*in_order, *_references(runs, failed)], failed, {})
    truths = {cell.budget: Truth(problem(cell), cell.config) for cell in by_budget(matrix)}
    return Compared(matrix, [truths[outcome.budget].judged(outcome) for outcome in in_order], failed, truths)


def _check(matrix: Matrix) -> None:
    """Every budget can be kept; the latency table is filled by one process, with the machine to itself."""
    for cell in by_budget(matrix):
        problem(cell)


def by_budget(matrix: Matrix) -> list[Cell]:
    """One of each."""
    return list({cell.budget: cell for cell in matrix.cells}.values())


def _look_up(cells: list[Cell], folder: Path) -> dict[str, dict[str, Any]]:
    """Digest of the configuration → record."""
    journal = Journal(folder / "journal.jsonl")
    done = {record["config"]: record for record in journal.of("looked_up")}
    todo = [cell for cell in cells if cell.digest not in done]
    with Progress("compare: searches looked up", len(cells), done=len(cells) - len(todo)) as progress:
        for cell, facts in _searched(todo, folder):
            key = {"config": cell.digest, "strategy": cell.strategy, "seed": cell.seed}
            done[cell.digest] = journal.append("looked_up", **key, **facts)
            progress.advance()
    return done


def _searched(cells: list[Cell], folder: Path) -> Iterator[tuple[Cell, dict[str, Any]]]:
    if not cells or cells[0].config.workers.count < 2:
        yield from ((cell, search(cell)) for cell in cells)  # no process is worth a tenth of a second
        return
    for cell, outcome in _by_workers("search", cells, cells[0].config.workers.count, folder):
        if isinstance(outcome, Failure):
            raise Unavailable(f"{cell.name}: {outcome.why}", f"see {outcome.log}; the same command goes on from here")
        yield cell, outcome


def _run(cells: list[Cell], folder: Path) -> dict[str, str]:
    """Cells without a result, and why."""
    failed: dict[str, str] = {}
    workers = max(1, cells[0].config.workers.count) if cells else 1
    last = "search" if cells and cells[0].has_truth else "finish"
    stages = list(STAGES)[: list(STAGES).index(last) + 1] if workers > 1 else [last]
    if cells and workers > 1 and cells[0].config.compute.threads == 0:
        say("compare: every worker takes all cores; with --set compute.threads=1 they share them")
    for stage in stages:
        todo = [cell for cell in cells if cell.name not in failed and not _has_done(cell, last)]
        at_once = workers if STAGES[stage] == TOGETHER else 1
        if todo:
            say(f"compare: {stage} of {len(todo)} runs, {at_once} at a time")
        for cell, outcome in _by_workers(stage, todo, at_once, folder):
            trouble = outcome.why if isinstance(outcome, Failure) else outcome
            say(f"compare: {cell.name}: {trouble or stage + ' done'}")
            if trouble:
                failed[cell.name] = trouble
    return failed


def _by_workers(stage: str, cells: list[Cell], at_once: int, folder: Path) -> Iterator[tuple[Cell, Any]]:
    """(cell, what came of it) as they come."""
    if not cells:
        return
    by_name = {f"{stage} {cell.name}".replace(" ", "-"): cell for cell in cells}
    with pool_of(cells[0].config.with_workers(at_once), folder) as pool:
        for name, cell in by_name.items():
            do, arguments = (search, (cell,)) if cell.is_looked_up else (advance, (cell, stage))
            pool.submit(Task(name, do, arguments))
        for _ in cells:
            task, outcome = pool.next()
            yield by_name[task.name], outcome


def _has_done(cell: Cell, stage: str) -> bool:
    """Whether the run's directory says so; its own lock and configuration are checked when it is opened."""
    journal = cell.path / "journal.jsonl"
    kind = {"search": "searched", "finish": "done"}[stage]
    if not (journal.exists() and (cell.path / "result.json").exists()):
        return False
    return Journal(journal).last(kind) is not None and stored_config(cell.path).digest() == cell.digest


def _references(runs: list[Cell], failed: dict[str, str]) -> list[Outcome]:
    """Every run of a seed and budget trains the same ones: the first strategy's will do."""
    found: dict[tuple[str, int], list[Outcome]] = {}
    for cell in runs:
        if cell.name not in failed:
            found.setdefault((cell.budget, cell.seed), references(cell))
    return [outcome for outcomes in found.values() for outcome in outcomes]
