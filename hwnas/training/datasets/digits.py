"""scikit-learn's 1,797 handwritten digits of 8×8 pixels (UCI): ships with the library, so it needs no download."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from hwnas.core.config import NoSettings
from hwnas.training.datasets import Dataset, Images, RawData


class Digits(Dataset):
    Settings = NoSettings

    def __init__(self, settings: NoSettings) -> None:
        pass

    def load(self, resolution: int) -> RawData:
        flat, labels = load_digits(return_X_y=True)  # pixels 0 to 16
        pixels = np.round(np.asarray(flat) * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
        everything = Images(pixels, np.asarray(labels, np.int64))
        # The set has no official test split: this one is the same for every run and seed.
        train, test = train_test_split(
            np.arange(len(everything)), test_size=0.2, random_state=0, stratify=everything.labels
        )
        return RawData(
            everything.take(np.asarray(train)),
            everything.take(np.asarray(test)),
            tuple(map(str, range(10))),
            flip=False,
        )
