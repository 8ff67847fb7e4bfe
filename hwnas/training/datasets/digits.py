"""scikit-learn's 1,797 handwritten digits of 8×8 pixels (UCI): ships with the library, so it needs no download."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from hwnas.core.config import Settings
from hwnas.training.datasets import Dataset, Images, RawData


class Digits(Dataset):
    Settings = Settings

    def __init__(self, settings: Settings) -> None:
        pass

    def load(self, resolution: int) -> RawData:
        bunch = load_digits()
        pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
        everything = Images(pixels, bunch.target.astype(np.int64))
        # The set has no official test split: this one is the same for every run and seed.
        train, test = train_test_split(
            np.arange(len(everything)), test_size=0.2, random_state=0, stratify=everything.labels
        )
        return RawData(everything.take(train), everything.take(test), tuple(map(str, range(10))), flip=False)
