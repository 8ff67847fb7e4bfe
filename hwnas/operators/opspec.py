"""One operator as a device sees it."""

import re
from dataclasses import dataclass
from typing import Any

from hwnas.core.errors import BadInput

Attribute = int | float | str | bool

_PATTERN = re.compile(r"(?P<kind>[a-z][a-z0-9_]*)\((?P<attrs>[^()]*)\)@(?P<shape>[0-9]+(?:x[0-9]+)*)")


@dataclass(frozen=True)
class OpSpec:
    """Kind, attributes (sorted by name) and input shape without the batch, e.g. (channels, height, width).

    Its string is the key in every latency table: `mbconv(act=relu6,expand=6,kernel=3,out=24,stride=2)@16x32x32`.
    """

    kind: str
    attrs: tuple[tuple[str, Attribute], ...]
    input_shape: tuple[int, ...]

    @classmethod
    def of(cls, kind: str, input_shape: tuple[int, ...], **attrs: Attribute) -> "OpSpec":
        return cls(kind, tuple(sorted(attrs.items())), tuple(input_shape))

    @classmethod
    def parse(cls, text: str) -> "OpSpec":
        """The inverse of str(). Raises BadInput."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise BadInput(f"'{text}' is not an operator key")
        pairs = [pair.partition("=") for pair in match["attrs"].split(",") if pair]
        attrs = {key: _value(value) for key, _, value in pairs}
        return cls.of(match["kind"], tuple(map(int, match["shape"].split("x"))), **attrs)

    def __str__(self) -> str:
        attrs = ",".join(f"{key}={str(value).lower()}" for key, value in self.attrs)
        return f"{self.kind}({attrs})@{'x'.join(map(str, self.input_shape))}"

    def attributes(self) -> dict[str, Any]:
        return dict(self.attrs)


def _value(text: str) -> Attribute:
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
