"""The bundle's README: a model card, with the lines that run each format by its own library.

What comes from outside (class names, paths, descriptions) can neither break the table nor bring in HTML or links.
"""

from collections.abc import Mapping
from typing import NamedTuple

from hwnas.core.plugins import load
from hwnas.deploy.interface import Interface

_MOST_NAMES, _NAME_LETTERS = 20, 60


class Card(NamedTuple):
    """`rows`: what is said about the network, in order. `notes`: exporter → what is known of its file."""

    title: str
    rows: dict[str, str]
    preprocessing: Interface
    class_names: tuple[str, ...]
    sample_count: int
    notes: dict[str, str]


def model_card(card: Card, formats: Mapping[str, Mapping[str, bytes]]) -> str:
    """Markdown. `formats`: exporter → its files."""
    names = ", ".join(plain(name, _NAME_LETTERS) for name in card.class_names[:_MOST_NAMES])
    more, classes = len(card.class_names) - _MOST_NAMES, len(card.class_names)
    rows = {key: plain(text) for key, text in (card.rows | card.preprocessing.rows()).items()} | {
        "output": f"{plain(card.preprocessing.output(classes))}: {names}{f' and {more} more' * (more > 0)}",
        "licence": "not stated: it depends on your data as well; write it here",
    }
    table = "\n".join(f"| {key} | {text} |" for key, text in rows.items())
    end = card.preprocessing.conclude(classes)
    sections = "\n".join(_section(name, files, card.notes.get(name, ""), end) for name, files in formats.items())
    return _CARD.format(
        title=plain(card.title),
        table=table,
        prepare=card.preprocessing.prepare(),
        sections=sections,
        count=card.sample_count,
        samples_are=card.preprocessing.samples_are,
    )


def plain(text: str, letters: int = 500) -> str:
    """Text as Markdown shows it literally, in one line of so many letters at most."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > letters:
        line = f"{line[: letters - 1]}…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|#" else c for c in line)


def _section(name: str, files: Mapping[str, bytes], note: str, end: str) -> str:
    exporter = load("exporters", name)
    first, *beside = files
    about = [f"{first}, {len(files[first]):,} bytes", *(f"with {other} beside it" for other in beside)]
    return _SECTION.format(
        name=name,
        about=plain("; ".join([*about, note] if note else about)),
        needs=exporter.needs,
        lines=exporter.lines.format(filename=first),
        end=end,
    )


_SECTION = """## {name}

{about}. Needs {needs}.

```python
{lines}{end}
```
"""

_CARD = """# {title}

| | |
|---|---|
{table}

## Run it

Every format takes the same `x`; only numpy and the format's own library are needed, beside the files of this folder.

```python
{prepare}
```

{sections}
`samples.safetensors` holds {count} {samples_are} with what the network takes (`inputs`) and the trained network's fp32
`logits`; `manifest.json` every file's sha256. `hwnas verify` checks all of it on your machine.
"""
