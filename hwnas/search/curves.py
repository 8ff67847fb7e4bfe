"""What the beginning of a learning curve tells of its end.

    features of the first k epochs: of training and search accuracy each −log(1 − a + ρ) of
    the last value, the best so far, and the mean of each of five equal parts

The running training accuracy says more than the search split's while the learning rate is high: it is no noisier than
the rate makes it, and over far more images. Deviation from the parametric families (pow3, mmf, … of Domhan et al. 2015;
Klein et al. 2017): those extend one curve by its own form, which a cosine schedule's does not have; like Baker et al.
(arXiv:1705.10823) we learn from complete curves of the same schedule how such a beginning ends.
"""

from itertools import pairwise

import numpy as np

_PARTS = 5
_RESOLUTION = 0.005


def describe(curves: np.ndarray) -> np.ndarray:
    """[n, k, 2] accuracies (training, search; fractions) of the first k epochs → [n, features]."""
    z = -np.log(1 - curves + _RESOLUTION)
    bounds = np.linspace(0, curves.shape[1], _PARTS + 1)
    parts = [z[:, int(a) : max(int(a) + 1, int(b))].mean(axis=1) for a, b in pairwise(bounds)]
    return np.concatenate([z[:, -1], z.max(axis=1), *parts], axis=1)
