"""Several targets profiled by one command: devices elsewhere side by side, this machine's one after the other.

What is timed here has the machine to itself, so it comes first. Elsewhere each device has a process of its own, that
has no second one at the same time, however many targets it stands for.
"""

from pathlib import Path

from hwnas.core.errors import BadInput, HwnasError
from hwnas.core.progress import say, warn
from hwnas.run.config import RunConfig
from hwnas.run.judging import at_work, pool_of
from hwnas.run.profiling import Outcome, profile_target
from hwnas.workers.pool import Failure, Task

_FOLDER = Path("latency_tables")


def profile_several(config: RunConfig, fresh: bool, dry_run: bool) -> Outcome:
    """Of all targets, in the order given. At most `workers.count` devices at a time, 0: all.

    When all have ended, raises what the first that failed raised; the others' tables are written all the same.
    """
    each = {one.target.name: one for one in config.each()}
    found: dict[str, Outcome | HwnasError] = {}
    there = {} if dry_run else {name: one for name, one in each.items() if one.target.host}
    for name, one in each.items():
        if name not in there:
            found[name] = _profiled(one, fresh, dry_run)
    if there:
        found |= _side_by_side(config, there, fresh)
    errors = {name: outcome for name, outcome in found.items() if isinstance(outcome, HwnasError)}
    for name, error in list(errors.items())[1:]:
        warn(f"{name}: {error}")
    for error in errors.values():
        raise error
    outcomes = {name: outcome for name in each if isinstance(outcome := found[name], Outcome)}
    facts = {name: outcome.facts for name, outcome in outcomes.items()}
    return Outcome("\n".join(outcome.text for outcome in outcomes.values()), {"targets": facts})


def _side_by_side(config: RunConfig, each: dict[str, RunConfig], fresh: bool) -> dict[str, Outcome | HwnasError]:
    devices = {one.target.host for one in each.values()}
    at_once = min(len(devices), config.workers.count or len(devices))
    found: dict[str, Outcome | HwnasError] = {}
    with pool_of(config.with_workers(at_once), _FOLDER) as pool:
        for name, one in each.items():
            arguments = (at_work(one).model_dump_json(), fresh, _FOLDER.absolute())
            pool.submit(Task(f"profile-{name}", _profile_there, arguments, key=one.target.host))
        for _ in each:
            task, outcome = pool.next()
            name = task.name.removeprefix("profile-")
            if isinstance(outcome, Failure):
                found[name] = BadInput(f"profiling '{name}' failed: {outcome.why}", f"its log is {outcome.log}")
            else:
                (found[name],) = outcome
            how = "failed" if isinstance(found[name], HwnasError) else "done"
            say(f"profile {name}: {how}, {len(found)} of {len(each)}")
    return found


def _profiled(config: RunConfig, fresh: bool, dry_run: bool = False, folder: Path = _FOLDER) -> Outcome | HwnasError:
    """An error is no reason to leave the other devices alone."""
    try:
        return profile_target(config, fresh, dry_run, folder)
    except HwnasError as error:
        return error


def _profile_there(config: str, fresh: bool, folder: Path) -> tuple[Outcome | HwnasError]:
    """In a worker, where an error that is not wrapped would end the other tasks."""
    return (_profiled(RunConfig.model_validate_json(config), fresh, folder=folder),)
