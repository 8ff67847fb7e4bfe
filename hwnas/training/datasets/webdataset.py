"""Tar shards: DIR/*train*.tar and DIR/*test*.tar (or *val*). A sample: `k.jpg` beside `k.cls`, its class as text."""

from pathlib import Path

from pydantic import Field

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.core.progress import warn
from hwnas.training.datasets import Dataset, RawStream, require
from hwnas.training.datasets._shard_index import Shard, index_shards
from hwnas.training.datasets._shards import Shards


class WebdatasetSettings(Settings):
    """`label`: the ending of the file that holds a sample's class, a number or a name. `buffer`: encoded samples that
    are shuffled at a time, over all workers. The rest is as of image folders."""

    dir: Path | None = None
    label: str = Field(default="cls", min_length=1)
    size: int = Field(default=0, ge=0)
    flip: bool = True
    skip_corrupt: bool = False
    buffer: int = Field(default=8192, ge=1)
    workers: int = Field(default=0, ge=0)


class Webdataset(Dataset):
    Settings = WebdatasetSettings

    def __init__(self, settings: WebdatasetSettings) -> None:
        self.settings = settings
        self.folder = require(settings.dir, "webdataset", "*train*.tar and *test*.tar (or *val*.tar)")

    def load(self, resolution: int) -> RawStream:
        own = self.settings
        train, test = self._shards("train"), self._shards("test") or self._shards("val")
        for part, paths in (("train", train), ("test", test)):
            if not paths:
                raise BadInput(f"{self.folder} holds no shards *{part}*.tar", "name them train-0000.tar, test-0000.tar")
        if both := set(train) & set(test):
            raise BadInput(f"{min(both)} is named as a training and as a test shard", "rename it")
        parts = [index_shards(self.folder, paths, own.label) for paths in (train, test)]
        faults = [fault for shards in parts for shard in shards for fault in shard.faults]
        if faults and not own.skip_corrupt:
            raise BadInput(faults[0], "write the shard again, or leave such samples out: --set data.skip_corrupt=true")
        if faults:
            warn(f"{self.folder}: {len(faults)} samples were skipped; the first: {faults[0]}")
        classes, tested = (_classes(shards) for shards in parts)
        if len(classes) < 2:
            raise BadInput(f"the training shards of {self.folder} hold {len(classes)} class; two are needed")
        if unknown := set(tested) - set(classes):
            raise BadInput(f"the test shards have a class {min(unknown)} that the training shards do not have")
        size = own.size or resolution
        sources = [Shards(shards, classes, own.label, size, own.buffer) for shards in parts]
        return RawStream(sources[0], sources[1], classes, own.flip, own.workers, own.skip_corrupt)

    def _shards(self, part: str) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"*{part}*.tar") if path.is_file())


def _classes(shards: tuple[Shard, ...]) -> tuple[str, ...]:
    """Numbers by their value, names by the alphabet."""
    texts = {text for shard in shards for text in shard.labels}
    return tuple(sorted(texts, key=int if all(text.isdecimal() for text in texts) else None))
