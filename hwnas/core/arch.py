"""Choices and architectures: the discrete object every search method works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from random import Random

from hwnas.core.errors import BadInput

Arch = tuple[int, ...]
"""One option index per choice."""


@dataclass(frozen=True)
class Choice:
    """A named categorical decision. `decides`: its sort, such as depth or kernel, where the space says; a method may
    alter each sort in its own way. Options of a sort that can be counted rise.
    """

    name: str
    options: tuple[str, ...]
    decides: str = ""


class ArchSpace:
    """All tuples over `choices`. A space whose tuples are not all valid overrides these methods."""

    choices: tuple[Choice, ...]

    def size(self) -> int:
        return prod(len(choice.options) for choice in self.choices)

    def valid(self, arch: Arch) -> bool:
        return len(arch) == len(self.choices) and all(
            0 <= option < len(choice.options) for option, choice in zip(arch, self.choices, strict=True)
        )

    def check(self, arch: Sequence[int]) -> Arch:
        """The architecture as a plain tuple. Raises BadInput when it is not of this space."""
        plain = tuple(int(option) for option in arch)
        if not self.valid(plain):
            raise BadInput(f"{list(arch)} is not an architecture of this space: it has {len(self.choices)} choices")
        return plain

    def random(self, rng: Random) -> Arch:
        return tuple(rng.randrange(len(choice.options)) for choice in self.choices)

    def mutate(self, arch: Arch, rng: Random, probability: float) -> Arch:
        """Each choice is redrawn with `probability`; at least one is changed to another option."""
        forced = rng.choice([i for i, choice in enumerate(self.choices) if len(choice.options) > 1])
        child = list(arch)
        for i, choice in enumerate(self.choices):
            if i == forced:
                child[i] = rng.choice([o for o in range(len(choice.options)) if o != arch[i]])
            elif rng.random() < probability:
                child[i] = rng.randrange(len(choice.options))
        return tuple(child)

    def crossover(self, mother: Arch, father: Arch, rng: Random) -> Arch:
        """Uniform: each choice from either parent."""
        return tuple(rng.choice(pair) for pair in zip(mother, father, strict=True))

    def describe(self, arch: Arch) -> dict[str, str]:
        """Choice name → option name."""
        return {c.name: c.options[o] for c, o in zip(self.choices, self.check(arch), strict=True)}
