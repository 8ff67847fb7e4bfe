"""What goes into a network and comes out of it, as a bundle says it: by what the network was trained on."""

from hwnas.deploy.preprocessing import Preprocessing
from hwnas.deploy.reading import Reading
from hwnas.training.data import Data

Interface = Preprocessing | Reading


def interface_of(data: Data, shape: tuple[int, ...]) -> Interface:
    """`shape`: of one input, [channels, resolution, resolution] or [1 + state]."""
    return Reading(state=shape[0] - 1) if data.is_text else Preprocessing.of(data, shape[-1])
