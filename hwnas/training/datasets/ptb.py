"""Penn Treebank as Mikolov prepared it, or any folder of the same form: three text files, one sentence a line.

The files are named train, valid and test: `ptb.train.txt`, `train.txt`, or either compressed as `.xz`. UTF-8, words
between spaces; every line ends in the word `<eos>`. The vocabulary is that of the training file, whole, also where
`data.limit` takes only its first words: numbers by how often a word occurs there, then by alphabet.
"""

import lzma
import re
from collections import Counter
from pathlib import Path

import numpy as np
from pydantic import Field

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.training.datasets import Dataset, RawText, require

PARTS = ("train", "valid", "test")
_RECIPE = {
    "batch_size": 32,
    "learning_rate": 20.0,
    "momentum": 0.0,
    "clip": 0.25,
    "weight_decay": 1e-6,
    "label_smoothing": 0.0,
}
"""Plain SGD, steep and clipped, as DARTS trains its cells (rate 20, clip 0.25); batch and decay are ours."""
END = "<eos>"


class PtbSettings(Settings):
    dir: Path | None = None
    most_words: int = Field(default=50_000, ge=2)
    """The largest vocabulary: embedding and projection grow with it."""
    span: int = Field(default=35, ge=1)
    """Words that back-propagation goes through, and that a batch reads in each of its rows."""
    valid_limit: int | None = Field(default=None, ge=2)
    """Use only so many words of the validation text, which is read for every network that a search judges."""


class Ptb(Dataset):
    Settings = PtbSettings
    recipe = {"search": _RECIPE, "training": _RECIPE}

    def __init__(self, settings: PtbSettings) -> None:
        self.settings = settings
        self.folder = require(settings.dir, "ptb", "train.txt, valid.txt and test.txt, plain or as .xz")

    def load(self, resolution: int) -> RawText:
        texts = {part: words_of(self._file(part)) for part in PARTS}
        counts = Counter(texts["train"])
        if len(counts) > self.settings.most_words:
            raise BadInput(
                f"{self._file('train')} has {len(counts):,} different words, over data.most_words "
                f"({self.settings.most_words:,})",
                f"replace rare words by <unk> in all three files, or --set data.most_words={len(counts)}",
            )
        vocabulary = sorted(counts, key=lambda word: (-counts[word], word))
        numbers = {word: number for number, word in enumerate(vocabulary)}
        train, valid, test = (self._numbered(part, texts[part], numbers) for part in PARTS)
        return RawText(train, valid[: self.settings.valid_limit], test, tuple(vocabulary), self.settings.span)

    def _numbered(self, part: str, words: list[str], numbers: dict[str, int]) -> np.ndarray:
        unknown = sorted({word for word in words if word not in numbers})
        if unknown:
            raise BadInput(
                f"{self._file(part)} has {len(unknown)} words that the training text lacks: "
                f"{', '.join(word[:40] for word in unknown[:3])}…",
                "replace them by <unk>, a word that the training text must hold as well",
            )
        return np.array([numbers[word] for word in words], np.int64)

    def _file(self, part: str) -> Path:
        pattern = re.compile(rf"(.*[._-])?{part}\.txt(\.xz)?")
        found = sorted(path for path in self.folder.iterdir() if pattern.fullmatch(path.name))
        if len(found) != 1:
            what = f"several {part} texts: {', '.join(path.name for path in found)}" if found else f"no {part} text"
            raise BadInput(f"{self.folder} holds {what}", f"leave one {part}.txt there, plain or as .xz")
        return found[0]


def words_of(path: Path) -> list[str]:
    """With an `<eos>` a line. Raises BadInput when the file is missing, torn, empty or not UTF-8."""
    try:
        data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, lzma.LZMAError) as error:
        raise BadInput(f"{path} is missing or damaged: {error}", "fetch the file again") from error
    except UnicodeDecodeError as error:
        what = f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at place {error.start:,}"
        raise BadInput(what, f"iconv -f latin1 -t utf-8 {path.name}, or whatever its encoding is") from error
    lines = text.removesuffix("\n").split("\n")
    words = [word for line in lines for word in (*line.split(), END)]
    if len(words) == len(lines):
        raise BadInput(f"{path} holds no words", "every part needs some: train, valid and test")
    return words
