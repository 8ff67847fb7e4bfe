"""The journal's numbers as TensorBoard events. The journal stays the source: a rerun writes them all again."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hwnas.core.errors import Unavailable
from hwnas.core.journal import Journal, Record


class TensorBoard:
    """Writes the records there are, and watches for more. Raises Unavailable when TensorBoard is not installed."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise Unavailable(
                "TensorBoard is not installed", "pip install 'hwnas[tensorboard]', or --set tensorboard=false"
            ) from error
        shutil.rmtree(folder, ignore_errors=True)
        self._writer, self._seen = SummaryWriter(str(folder)), Counter[str]()
        for record in journal.records:
            self(record)
        journal.watchers.append(self)

    def __call__(self, record: Record) -> None:
        step = record.get("epoch", self._seen[record["kind"]])
        self._seen[record["kind"]] += 1
        for tag, value in scalars(record):
            self._writer.add_scalar(tag, value, step)
        self._writer.flush()


def scalars(record: Record) -> Iterator[tuple[str, float]]:
    """(tag, value): a search's epochs and trials, every network's training, and what was measured and tested."""
    match record["kind"]:
        case "epoch":
            numbers = {k: v for k, v in record.items() if k != "epoch" and isinstance(v, float) and v == v}
            yield from ((f"search/{name}", value) for name, value in numbers.items())
        case "trial":
            yield "search/accuracy", record["accuracy"]
            yield "search/predicted_ms", record["predicted"]
        case "training":
            yield f"train/{record['role']}/loss", record["loss"]
            yield f"train/{record['role']}/learning_rate", record["learning_rate"]
        case "measured":
            yield from ((f"{record['target']}/{role}/ms", m["median"]) for role, m in record["measured"].items())
        case "tested":
            yield from ((f"test/{role}/accuracy", value) for role, value in record["accuracies"].items())
