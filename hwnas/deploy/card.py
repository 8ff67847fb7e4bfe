"""The bundle's README: a model card, with the lines that run each format by its own library.

What comes from outside (class names, paths, descriptions) can neither break the table nor bring in HTML or links.
"""

from collections.abc import Mapping
from typing import NamedTuple

from hwnas.core.plugins import load
from hwnas.deploy.manifest import Preprocessing

_MOST_NAMES, _NAME_LETTERS = 20, 60


class Card(NamedTuple):
    """`rows`: what is said about the network, in order. `notes`: exporter → what is known of its file."""

    title: str
    rows: dict[str, str]
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    sample_count: int
    notes: dict[str, str]


def model_card(card: Card, formats: Mapping[str, Mapping[str, bytes]]) -> str:
    """Markdown. `formats`: exporter → its files."""
    names = ", ".join(plain(name, _NAME_LETTERS) for name in card.class_names[:_MOST_NAMES])
    more = len(card.class_names) - _MOST_NAMES
    p = card.preprocessing
    mean, std = list(p.mean), list(p.std)
    size = f"{len(mean)}, {p.resolution}, {p.resolution}"
    rows = {key: plain(text) for key, text in card.rows.items()} | {
        "input": f"float32 \\[batch, {size}\\]",
        "preprocessing": f"pixels scaled to 0–1, minus mean {plain(str(mean))}, over std {plain(str(std))}, per "
        f"channel; another size is resized (bilinear) to {p.resolution} × {p.resolution}",
        "output": f"logits \\[batch, {len(card.class_names)}\\]: {names}{f' and {more} more' * (more > 0)}",
        "licence": "not stated: it depends on your data as well; write it here",
    }
    table = "\n".join(f"| {key} | {text} |" for key, text in rows.items())
    sections = "\n".join(_section(name, files, card.notes.get(name, "")) for name, files in formats.items())
    return _CARD.format(
        title=plain(card.title), table=table, mean=mean, std=std, size=size, sections=sections, count=card.sample_count
    )


def plain(text: str, letters: int = 500) -> str:
    """Text as Markdown shows it literally, in one line of so many letters at most."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > letters:
        line = f"{line[: letters - 1]}…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|#" else c for c in line)


def _section(name: str, files: Mapping[str, bytes], note: str) -> str:
    exporter = load("exporters", name)
    first, *beside = files
    about = [f"{first}, {len(files[first]):,} bytes", *(f"with {other} beside it" for other in beside)]
    return _SECTION.format(
        name=name,
        about=plain("; ".join([*about, note] if note else about)),
        needs=exporter.needs,
        lines=exporter.lines.format(filename=first),
    )


_SECTION = """## {name}

{about}. Needs {needs}.

```python
{lines}print(logits.argmax(1))
```
"""

_CARD = """# {title}

| | |
|---|---|
{table}

## Run it

Every format takes the same `x`; only numpy and the format's own library are needed, beside the files of this folder.

```python
import numpy as np
mean, std = np.array({mean}, np.float32), np.array({std}, np.float32)
images = np.random.randint(0, 256, (1, {size}), np.uint8)  # yours here
x = (images.astype(np.float32) / 255 - mean[:, None, None]) / std[:, None, None]
```

{sections}
`samples.safetensors` holds {count} test images with what the network takes (`inputs`) and the trained network's fp32
`logits`; `manifest.json` every file's sha256. `hwnas verify` checks all of it on your machine.
"""
