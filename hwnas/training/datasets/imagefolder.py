"""One folder a class: DIR/train/<class>/*.jpg and DIR/{val,test}/<class>/*. Any class count, image size and format."""

from pathlib import Path

import numpy as np
from pydantic import Field

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.core.progress import Progress, warn
from hwnas.training.datasets import Dataset, Images, RawData, RawStream, require
from hwnas.training.datasets._files import Files
from hwnas.training.datasets._source import CHUNK

CORRUPT = "mend it, or leave such files out: --set data.skip_corrupt=true"


class ImagefolderSettings(Settings):
    """`size`: images are scaled and cropped to this many pixels; 0 means the network's resolution. `skip_corrupt`:
    leave out files that cannot be read, and say how many; else the first one ends the run. `held_gib`: what images may
    take of the memory; more are read from disk at every epoch, by `workers` processes (0: one a core)."""

    dir: Path | None = None
    size: int = Field(default=0, ge=0)
    flip: bool = True
    skip_corrupt: bool = False
    held_gib: float = Field(default=8.0, ge=0)
    workers: int = Field(default=0, ge=0)


class Imagefolder(Dataset):
    Settings = ImagefolderSettings

    def __init__(self, settings: ImagefolderSettings) -> None:
        self.settings = settings
        self.folder = require(settings.dir, "imagefolder", "train/<class>/* and val/<class>/* (or test/)")

    def load(self, resolution: int) -> RawData | RawStream:
        size, own = self.settings.size or resolution, self.settings
        train, test = self.folder / "train", self.folder / "test"
        if not test.is_dir():
            test = self.folder / "val"
        for folder in (train, test):
            if not folder.is_dir():
                raise BadInput(f"{folder} is missing", "lay the images out as train/<class>/* and val/<class>/*")
        names = _classes(train)
        if len(names) < 2:
            raise BadInput(f"{train} holds {len(names)} class folders; two are needed")
        if unknown := [name for name in _classes(test) if name not in names]:
            raise BadInput(f"{test / unknown[0]} is a class that {train} does not have", "name the folders alike")
        parts = [Files.of(folder, names, size) for folder in (train, test)]
        for files in parts:
            if not len(files):
                raise BadInput(f"{files.folder} holds no images of the classes {', '.join(names[:5])}")
        if empty := set(range(len(names))) - parts[0].classes_held():
            raise BadInput(f"{train / names[min(empty)]} holds no images", "put some there, or delete the folder")
        if sum(map(len, parts)) * 3 * size * size > own.held_gib * 2**30:
            return RawStream(parts[0], parts[1], names, own.flip, own.workers, own.skip_corrupt)
        return RawData(self._read(parts[0]), self._read(parts[1]), names, own.flip)

    def _read(self, files: Files) -> Images:
        pixels, labels, skipped = [], [], 0
        with Progress(f"read {files.folder.name} images", len(files)) as progress:
            for start in range(0, len(files), CHUNK):
                chunk = files.read(np.arange(start, min(start + CHUNK, len(files))))
                for fault in chunk.faults:
                    if not self.settings.skip_corrupt:
                        raise BadInput(fault, CORRUPT)
                    warn(f"skipped {fault}")
                pixels.append(chunk.pixels.numpy())
                labels.append(chunk.labels.numpy())
                skipped += len(chunk.faults)
                progress.advance(len(chunk.labels) + len(chunk.faults))
        images = Images(np.concatenate(pixels), np.concatenate(labels))
        if not len(images):
            raise BadInput(f"none of the {len(files)} images in {files.folder} can be read")
        if skipped:
            warn(f"{files.folder}: {skipped} of {len(files)} files were skipped, no readable images")
        return images


def _classes(folder: Path) -> tuple[str, ...]:
    """Its visible folders: tools leave hidden ones behind (.ipynb_checkpoints). Raises BadInput for a name that could
    not be written down again, a name a line in UTF-8."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for name in names:
        if not name.isprintable():
            raise BadInput(f"{folder} has a class folder called {name!a}", "rename it: printable characters only")
    return tuple(names)
