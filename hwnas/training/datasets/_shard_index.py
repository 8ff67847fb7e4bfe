"""What each tar shard holds, by its headers and labels; no image is read. Kept while a shard's size and date stay."""

import json
import tarfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from webdataset.tariterators import base_plus_ext

from hwnas.core.errors import BadInput
from hwnas.core.progress import Progress
from hwnas.training.datasets._index import index_file, keep
from hwnas.training.datasets._pictures import SUFFIXES

BROKEN = (tarfile.TarError, OSError, ValueError, EOFError)
_KIND = "shards-1.json"
_LONGEST_LABEL = 256
_LARGEST_IMAGE = 64 << 20


@dataclass(frozen=True)
class Shard:
    """`labels`: how many samples of each class, by the text of the label. `faults`: samples that are not whole."""

    path: str
    bytes: int
    changed_ns: int
    samples: int
    labels: dict[str, int]
    faults: list[str] = field(default_factory=list)


def index_shards(folder: Path, paths: list[Path], label: str) -> tuple[Shard, ...]:
    """In the order of their names. Raises BadInput for a shard that cannot be opened."""
    file = index_file(folder, _KIND)
    known, found = _known(file, label), dict[str, Shard]()
    with Progress("index shards", len(paths)) as progress:
        for path in paths:
            facts = path.stat()
            old = known.get(str(path))
            fresh = old is None or (old.bytes, old.changed_ns) != (facts.st_size, facts.st_mtime_ns)
            found[str(path)] = _read(path, label) if old is None or fresh else old
            progress.advance()
    if found != {path: known.get(path) for path in found}:
        shards = {path: asdict(shard) for path, shard in (known | found).items()}
        newest_ns = max((shard.changed_ns for shard in found.values()), default=0)
        keep(file, json.dumps({"label": label, "shards": shards}).encode(), newest_ns)
    return tuple(found[str(path)] for path in sorted(paths))


def _known(file: Path, label: str) -> dict[str, Shard]:
    """None of another label's; what is not whole is read again: it is only a cache."""
    try:
        kept = json.loads(file.read_bytes())
        return {path: Shard(**facts) for path, facts in kept["shards"].items()} if kept["label"] == label else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _read(path: Path, label: str) -> Shard:
    facts = path.stat()
    labels, faults, samples = Counter[str](), list[str](), 0
    try:
        with tarfile.open(path, "r:") as tar:
            for key, parts in _samples(tar):
                fault = _fault(tar, parts, label, labels)
                if fault:
                    faults.append(f"{path}: {key} {fault}")
                else:
                    samples += 1
    except BROKEN as error:
        faults.append(f"{path} is not a whole tar file: {error}")
    if not samples:
        raise BadInput(
            f"{path} holds no image with a label '{label}'{': ' + faults[0] if faults else ''}",
            "see docs/my-data.md for the form of a shard, or name the label's key: --set data.label=KEY",
        )
    return Shard(str(path), facts.st_size, facts.st_mtime_ns, samples, dict(labels), faults)


def _samples(tar: tarfile.TarFile) -> Any:
    """(key, parts by their endings), as WebDataset groups them: files that follow one another under one name."""
    key, parts = None, dict[str, tarfile.TarInfo]()
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # else it keeps all of them
        name, ending = base_plus_ext(member.name)
        if not member.isreg() or name is None or ending is None or name.startswith("__"):
            continue
        if name != key and parts:
            yield key, parts
            parts = {}
        key = name
        if ending.lower() in parts:
            raise tarfile.ReadError(f"{member.name} is there twice")
        parts[ending.lower()] = member
    if parts:
        yield key, parts


def _fault(tar: tarfile.TarFile, parts: dict[str, tarfile.TarInfo], label: str, labels: Counter[str]) -> str:
    """Empty for a whole sample, whose label is then counted."""
    image = next((member for ending, member in parts.items() if f".{ending}" in SUFFIXES), None)
    if image is None:
        return f"has no image, only {', '.join(parts)}"
    if image.size > _LARGEST_IMAGE:  # reading what follows it would hold it in memory
        raise BadInput(f"{tar.name}: {image.name} has {image.size:,} bytes", "write the shard without it")
    if image.size == 0:
        return "has an empty image"
    if label not in parts:
        return f"has no label '{label}', only {', '.join(parts)}"
    stored = tar.extractfile(parts[label])
    text = "" if stored is None else stored.read(_LONGEST_LABEL + 1).decode(errors="replace").strip()
    if not text or len(text) > _LONGEST_LABEL or not text.isprintable():
        return f"has a label that is no class: {text[:40]!a}"
    labels[text] += 1
    return ""
