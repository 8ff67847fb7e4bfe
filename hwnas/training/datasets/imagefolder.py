"""One folder a class: DIR/train/<class>/*.jpg and DIR/{val,test}/<class>/*. Any class count, image size and format."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.core.progress import Progress, warn
from hwnas.training.datasets import Dataset, Images, RawData, require

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
LARGEST_BYTES = 8 << 30


class ImagefolderSettings(Settings):
    """`size`: images are scaled and cropped to this many pixels; 0 means the network's resolution. `skip_corrupt`:
    leave out files that cannot be read, and say how many; else the first one ends the run."""

    dir: Path | None = None
    size: int = Field(default=0, ge=0)
    flip: bool = True
    skip_corrupt: bool = False


class Imagefolder(Dataset):
    Settings = ImagefolderSettings

    def __init__(self, settings: ImagefolderSettings) -> None:
        self.settings = settings
        self.folder = require(settings.dir, "imagefolder", "train/<class>/* and val/<class>/* (or test/)")

    def load(self, resolution: int) -> RawData:
        size = self.settings.size or resolution
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
        return RawData(self._read(train, names, size), self._read(test, names, size), names, self.settings.flip)

    def _read(self, folder: Path, names: tuple[str, ...], size: int) -> Images:
        files = [
            (path, label)
            for label, name in enumerate(names)
            for path in sorted((folder / name).glob("*"))
            if path.suffix.lower() in SUFFIXES
        ]
        if not files:
            raise BadInput(f"{folder} holds no images of the classes {', '.join(names[:5])}")
        empty = [name for label, name in enumerate(names) if label not in {label for _, label in files}]
        if empty and folder.name == "train":
            raise BadInput(f"{folder / empty[0]} holds no images", "put some there, or delete the folder")
        if len(files) * 3 * size * size > LARGEST_BYTES:
            raise BadInput(f"{len(files)} images of {size} pixels are over 8 GiB in memory", "--set data.size=SMALLER")
        pixels, labels = [], []
        with Progress(f"read {folder.name} images", len(files)) as progress:
            for path, label in files:
                image = self._image(path, size)
                if image is not None:
                    pixels.append(image)
                    labels.append(label)
                progress.advance()
        if not pixels:
            raise BadInput(f"none of the {len(files)} images in {folder} can be read")
        if skipped := len(files) - len(pixels):
            warn(f"{folder}: {skipped} of {len(files)} files were skipped, no readable images")
        return Images(np.stack(pixels), np.array(labels, np.int64))

    def _image(self, path: Path, size: int) -> np.ndarray | None:
        try:
            with Image.open(path) as image:
                return _square(_rgb(image), size)
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            if self.settings.skip_corrupt:
                warn(f"skipped {path}: {error}")
                return None
            raise BadInput(f"{path} is not a readable image: {error}", "--set data.skip_corrupt=true") from error


def _classes(folder: Path) -> tuple[str, ...]:
    """Its visible folders: tools leave hidden ones behind (.ipynb_checkpoints). Raises BadInput for a name that could
    not be written down again, a name a line in UTF-8."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for name in names:
        if not name.isprintable():
            raise BadInput(f"{folder} has a class folder called {name!a}", "rename it: printable characters only")
    return tuple(names)


def _rgb(image: Image.Image) -> Image.Image:
    """Greyscale of 16 bits is scaled to 8; Pillow would clip it to white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _square(image: Image.Image, size: int) -> np.ndarray:
    """Scale the shorter side to `size`, crop the middle: uint8 [3, size, size]."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1)
