"""What of a journal can be drawn: numbers, each with a name and a step."""

from collections import Counter
from collections.abc import Iterator

from hwnas.core.journal import Record


class Numbers:
    """Told the records in order: a step is a record's epoch, or how many of its kind came before it."""

    def __init__(self) -> None:
        self._seen = Counter[str]()

    def of(self, record: Record) -> Iterator[tuple[str, float, int]]:
        """(tag, value, step)."""
        step = record.get("epoch", self._seen[record["kind"]])
        self._seen[record["kind"]] += 1
        return ((tag, value, step) for tag, value in _scalars(record))


def _scalars(record: Record) -> Iterator[tuple[str, float]]:
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
