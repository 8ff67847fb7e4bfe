"""Independent tasks in processes of their own, here or on a Ray cluster: one pool, one file a kind of place.

with open_pool(workers, ray, logs, cores=1) as pool:
    pool.submit(Task("trial-0", judge, (arch,)))
    task, outcome = pool.next()          # as they end; a Failure where every attempt failed
"""

from pathlib import Path

from hwnas.core.errors import BadInput
from hwnas.workers.pool import Place, Pool
from hwnas.workers.settings import Ray, Workers


def open_pool(workers: Workers, ray: Ray, logs: Path, cores: int) -> Pool:
    """`cores`: that one task uses. Raises Unavailable where Ray is asked for and is not here."""
    place: Place
    if ray.address is None:
        from hwnas.workers.local import Local

        place = Local(workers)
    else:
        from hwnas.workers.on_ray import OnRay

        place = OnRay(workers, ray.address, cores)
    return Pool(place, workers, logs)


def check(workers: Workers, ray: Ray) -> None:
    """Raises BadInput for a cluster without workers."""
    if ray.address is not None and not workers.count:
        raise BadInput(f"ray.address is {ray.address}, but there are no workers", "--workers 8, or how many it has")
