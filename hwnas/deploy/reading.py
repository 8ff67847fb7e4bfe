"""From words to what a language model takes, as a bundle says it: what `preprocessing.py` is to images."""

import json
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from hwnas.core.config import Settings
from hwnas.deploy.samples import Samples

_MOST_DRIFT = 1e-3
"""Of a number of the state, most of which lie within ±1: a batch computes it a little differently than one word."""


class Reading(Settings):
    """A network takes [n, 1 + state]: the number of a word in the class names, then the `state` that it gave with the
    word before, zeros before the first. It gives [n, words + state]."""

    count: ClassVar[int] = 100
    """Samples in a bundle: words that follow one another."""
    parts: ClassVar[tuple[str, ...]] = ("inputs",)
    samples_are: ClassVar[str] = "words of the test text, one after another,"

    state: int = Field(ge=1, le=1 << 20)

    def metadata(self, class_names: Sequence[str]) -> dict[str, str]:
        """As it is written into an ONNX file."""
        return {"class_names": json.dumps(list(class_names), ensure_ascii=False), "state": str(self.state)}

    def faults(self, samples: Samples, class_names: Sequence[str]) -> list[str]:
        """Where the samples are not what this says."""
        words, inputs, logits = len(class_names), samples.inputs, samples.logits
        if inputs.shape[1:] != (1 + self.state,) or logits.shape[1] != words + self.state:
            return [f"the samples are not of {words:,} words and a state of {self.state}"]
        numbers, drift = inputs[:, 0], _drift(inputs[:, 1:], logits[:, words:])
        faults = []
        if not bool(((numbers == numbers.round()) & (numbers >= 0) & (numbers < words)).all()):
            faults.append("the samples hold numbers of no word")
        if drift > _MOST_DRIFT:
            faults.append(f"the samples' words do not follow one another (off by {drift:.2g})")
        return faults

    def rows(self) -> dict[str, str]:
        """Of the model card."""
        return {
            "input": f"float32 [batch, {1 + self.state}]: a word's number, then the state, zeros before the first word"
        }

    def output(self, classes: int) -> str:
        return f"[batch, {classes} + {self.state}]: a logit for each word that may come next, then the new state"

    def prepare(self) -> str:
        """Python: `x`, as every format takes it."""
        return f"""\
import json
import numpy as np
words = json.load(open("manifest.json"))["class_names"]
x = np.zeros((1, {1 + self.state}), np.float32)  # before the first word
x[:, 0] = words.index(words[0])  # yours here"""

    def conclude(self, classes: int) -> str:
        """Python: what `logits` mean."""
        return f"""\
print(words[logits[0, :{classes}].argmax()])  # the likeliest next word
x[:, 1:] = logits[:, {classes}:]  # the state; with the next word's number in x[:, 0], run it again"""


def _drift(given: Tensor, found: Tensor) -> float:
    """`given`: states that words were read in, zeros first; `found`: those after them. [n, state] each."""
    before = found.roll(1, 0)
    before[0] = 0
    return float((given - before).abs().max())
