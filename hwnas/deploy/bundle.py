"""The folder a user ships: the network in every format asked for, its weights, samples to check it by, a model card."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from hwnas.core.files import sha256, write_atomic

SAMPLES = 64
STEPS = 100
"""Samples of a text: words that follow one another."""
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Contents:
    """`formats`: file name → bytes; `facts`: the manifest without hashes; `card`: what README.md says."""

    formats: dict[str, bytes]
    weights: dict[str, Tensor]
    arch: dict[str, Any]
    inputs: Tensor
    logits: Tensor
    facts: dict[str, Any]
    card: dict[str, Any]


def write_bundle(folder: Path, contents: Contents) -> None:
    """The manifest is written last: a bundle with a manifest is whole. Raises StorageFailed."""
    (folder / _MANIFEST).unlink(missing_ok=True)
    for name, data in contents.formats.items():
        write_atomic(folder / name, data)
    write_atomic(folder / "weights.safetensors", safetensors.torch.save(_plain(contents.weights)))
    write_atomic(folder / "arch.json", json.dumps(contents.arch, indent=1) + "\n")
    samples = {"inputs": contents.inputs, "logits": contents.logits}
    write_atomic(folder / "samples.safetensors", safetensors.torch.save(_plain(samples)))
    write_atomic(folder / "README.md", _model_card(contents.card))
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
    write_atomic(folder / _MANIFEST, json.dumps({"files": files, **contents.facts}, indent=1) + "\n")


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: t.detach().cpu().clone(memory_format=torch.contiguous_format) for k, t in tensors.items()}


def _model_card(card: dict[str, Any]) -> str:
    interface, use = (_TEXT, _READ_WORDS) if card["channels"] == 0 else (_IMAGES, _SEE_IMAGES)
    facts = card["preprocessing"] | card
    return _CARD.format(**facts, interface=interface.format(**facts), use=use.format(**facts))


_CARD = """# {title}

Found by hwnas {version}: space `{space}`, strategy `{strategy}`, seed {seed}.

| | |
|---|---|
| file | {files} |
| searched for | target `{target}` ({device}, {runtime}, {precision}, {threads} thread(s)), budget {budget} |
| latency, {latency} |
| latency, predicted | {predicted_ms:.4g} ms; the budget was {budget_ms:.4g} ms |
| accuracy | {accuracy} on the test split of `{data}`, read once after everything was chosen |
| size | {params:,} parameters, {macs:,} multiply-accumulates |
{interface}
| limits | the latency holds on the device above and nowhere else: measure again on yours |
| licence | yours to state: it depends on your data |

Run it with onnxruntime alone (beside the files of this folder):

```python
{use}
```

`samples.safetensors` holds {sample_count} test inputs with the trained network's fp32 logits; `manifest.json` every
file's sha256.
"""

_IMAGES = """| input | float32 [batch, {channels}, {size}, {size}] |
| preprocessing | pixels scaled to 0–1, minus mean {mean}, over std {std} |
| output | logits [batch, {classes}]: {class_names} |"""

_SEE_IMAGES = """import numpy as np, onnxruntime as ort
mean, std = np.array({mean}, np.float32), np.array({std}, np.float32)
session = ort.InferenceSession("{deployed}", providers=["CPUExecutionProvider"])
images = np.random.randint(0, 256, (1, {channels}, {size}, {size}), np.uint8)  # yours here
x = (images.astype(np.float32) / 255 - mean[:, None, None]) / std[:, None, None]
logits = session.run(None, {{session.get_inputs()[0].name: x}})[0]
print(logits.argmax(1))"""

_TEXT = """| input | float32 [batch, 1 + {size}]: a word's number, then the state, zeros before the first word |
| output | float32 [batch, {classes} + {size}]: a logit for each word that may come next, then the new state |
| words | `words` of `arch.json`, in the order of their numbers: {class_names}, … |"""

_READ_WORDS = """import json, numpy as np, onnxruntime as ort
words = json.load(open("arch.json"))["words"]
session = ort.InferenceSession("{deployed}", providers=["CPUExecutionProvider"])
state = np.zeros((1, {size}), np.float32)
for word in words[:3]:  # yours here
    x = np.concatenate([np.array([[words.index(word)]], np.float32), state], 1)
    out = session.run(None, {{session.get_inputs()[0].name: x}})[0]
    logits, state = out[:, :{classes}], out[:, {classes}:]
print(words[int(logits.argmax())])"""
