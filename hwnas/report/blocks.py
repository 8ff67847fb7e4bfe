"""A network as its places in forward order, each with its share of the predicted milliseconds."""

from dataclasses import dataclass

from hwnas.core.arch import Arch
from hwnas.latency.model import LatencyModel
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Space

CALL = "call"
"""What a network costs beside its operators."""


@dataclass(frozen=True)
class Block:
    """`option`: what was chosen there, or the operator's kind where there is no choice. `kernel`, `expand`: of a
    convolution block. `ms`: as corrected by the model's fit, so that a tiny operator's may be below zero."""

    name: str
    option: str
    ms: float
    chosen: bool = False
    skipped: bool = False
    kernel: int | None = None
    expand: int | None = None


def blocks(model: LatencyModel, arch: Arch) -> list[Block]:
    """Every place of the space, also those that `arch` skips; the constant last. The ms sum to the prediction."""
    on = iter(model.breakdown(arch))
    places: dict[tuple[int, ...], list[tuple[OpSpec, float]]] = {}
    for number, conditional in enumerate(model.space.operators()):
        choices = tuple(choice for choice, _ in conditional.when)
        place = places.setdefault(choices or (-1 - number,), [])
        if all(arch[choice] == option for choice, option in conditional.when):
            place.append((conditional.spec, next(on)[1]))
    found = [_block(model.space, arch, choices, place) for choices, place in places.items()]
    return [*found, Block(CALL, "", next(on)[1])]


def _block(space: Space, arch: Arch, choices: tuple[int, ...], place: list[tuple[OpSpec, float]]) -> Block:
    ms = sum(value for _, value in place)
    if choices[0] < 0:
        spec = place[0][0]
        return Block(spec.kind, "", ms)
    names = [space.choices[choice].name for choice in choices]
    options = [space.choices[choice].options[arch[choice]] for choice in choices]
    attributes = place[0][0].attributes() if len(place) == 1 else {}
    return Block(
        name=" × ".join(names),
        option=" × ".join(options),
        ms=ms,
        chosen=True,
        skipped=not place,
        kernel=attributes.get("kernel"),
        expand=attributes.get("expand"),
    )
