"""A new device from ten measurements, on families of devices that were made up: all truth is known."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from hwnas.core.errors import BadInput
from hwnas.latency.transfer import Transfer, learn

ROOT = Path(__file__).parents[1]
NETWORKS, NOISE = 400, 0.02


class Devices:
    """Six devices that mix three ways of charging for features, each at a speed of its own; and new ones like them."""

    def __init__(self, seed: int, noise: float = NOISE) -> None:
        self.rng, self.noise = np.random.default_rng(seed), noise
        counts = self.rng.integers(0, 7, (NETWORKS, 5))
        self.features = np.column_stack([np.ones(NETWORKS), counts]).astype(float)
        self.ways = self.rng.uniform(0.2, 3, (3, 6))
        self.others_ms = np.array([self.device() for _ in range(6)])

    def device(self) -> np.ndarray:
        charges = self.rng.dirichlet([1.0, 1.0, 1.0]) @ self.ways
        exact = self.rng.uniform(0.1, 50) * self.features @ charges
        return exact * np.exp(self.noise * self.rng.standard_normal(NETWORKS))

    def learnt(self) -> Transfer:
        return learn(self.features, self.others_ms)


def predicted(devices: Devices, transfer: Transfer, new_ms: np.ndarray, ten: np.ndarray) -> np.ndarray:
    """[3, networks]: ms, low, high."""
    return np.array(transfer.fit(ten, new_ms[ten]).predict(devices.features, devices.others_ms))


def test_ten_measurements_recover_a_device_of_the_family() -> None:
    devices = Devices(0)
    transfer = devices.learnt()
    ten = transfer.choose(10)
    for _ in range(5):
        new_ms = devices.device()
        ms = predicted(devices, transfer, new_ms, ten)[0]
        assert float(spearmanr(ms, new_ms)[0]) > 0.98  # type: ignore[arg-type]
        assert np.median(np.abs(ms / new_ms - 1)) < 0.03


def test_ninety_five_per_cent_lie_in_the_interval() -> None:
    covered = []
    for seed in range(8):
        devices = Devices(seed, noise=0.03)
        transfer = devices.learnt()
        for _ in range(4):
            new_ms = devices.device()
            _, low, high = predicted(devices, transfer, new_ms, transfer.choose(10))
            covered.append(((low <= new_ms) & (new_ms <= high)).mean())
    assert 0.92 <= np.mean(covered) <= 0.985


def test_intervals_are_wider_on_noisier_families() -> None:
    widths = []
    for noise in (0.01, 0.1):
        devices = Devices(3, noise)
        transfer = devices.learnt()
        ms, low, high = predicted(devices, transfer, devices.device(), transfer.choose(10))
        widths.append(np.median((high - low) / ms))
    assert widths[1] > 3 * widths[0]


def test_the_chosen_ten_tell_more_than_a_random_ten() -> None:
    errors: dict[str, list[float]] = {"chosen": [], "random": []}
    for seed in range(6):
        devices = Devices(seed, noise=0.05)
        transfer, new_ms = devices.learnt(), devices.device()
        draws = {"chosen": [transfer.choose(10)], "random": [devices.rng.permutation(NETWORKS)[:10] for _ in range(10)]}
        for name, tens in draws.items():
            errors[name] += [np.abs(predicted(devices, transfer, new_ms, ten)[0] / new_ms - 1).mean() for ten in tens]
    assert np.mean(errors["chosen"]) < 0.9 * np.mean(errors["random"])


def test_one_measurement_in_ten_may_be_a_spike() -> None:
    devices = Devices(1)
    transfer, new_ms = devices.learnt(), devices.device()
    ten = transfer.choose(10)
    for spike in range(10):
        measured = new_ms[ten].copy()
        measured[spike] *= 3
        ms, _, _ = transfer.fit(ten, measured).predict(devices.features, devices.others_ms)
        assert np.median(np.abs(ms / new_ms - 1)) < 0.1


def test_more_measurements_help_and_begin_with_the_same_networks() -> None:
    devices = Devices(2, noise=0.05)
    transfer, new_ms = devices.learnt(), devices.device()
    few, many = transfer.choose(5), transfer.choose(60)
    assert many[:5].tolist() == few.tolist()
    assert len(set(many.tolist())) == 60
    errors = [np.abs(predicted(devices, transfer, new_ms, some)[0] / new_ms - 1).mean() for some in (few, many)]
    assert errors[1] < errors[0]


def test_only_networks_that_can_be_measured_are_chosen() -> None:
    transfer = Devices(0).learnt()
    assert set(transfer.choose(10, among=range(30, 45)).tolist()) <= set(range(30, 45))


def test_the_same_again() -> None:
    first, again = Devices(5), Devices(5)
    assert first.learnt().choose(10).tolist() == again.learnt().choose(10).tolist()
    ten, new_ms = first.learnt().choose(10), first.device()
    one, other = (predicted(d, d.learnt(), new_ms, ten) for d in (first, again))
    assert (one == other).all()


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1e-3, 1e3), other=st.integers(0, 5))
def test_units_do_not_matter(factor: float, other: int) -> None:
    """Neither those of the new device nor those of another one change anything but the predictions' unit."""
    devices = Devices(4)
    transfer, new_ms = Transfer(devices.features, devices.others_ms), devices.device()
    ten = transfer.choose(10)
    plain = predicted(devices, transfer, new_ms, ten)
    assert predicted(devices, transfer, factor * new_ms, ten) == pytest.approx(factor * plain, rel=1e-6)
    devices.others_ms[other] *= factor
    transfer = Transfer(devices.features, devices.others_ms)
    assert predicted(devices, transfer, new_ms, ten) == pytest.approx(plain, rel=1e-6)


def test_tables_that_predict_are_judged_by_what_was_measured() -> None:
    """Their sums hold no noise: only the networks measured whole, 60 on each, show how wide intervals must be."""
    devices = Devices(6, noise=0.0)
    measured_ms = devices.others_ms * np.exp(0.05 * devices.rng.standard_normal(devices.others_ms.shape))
    for row in measured_ms:
        row[devices.rng.permutation(NETWORKS)[60:]] = np.nan
    transfer = learn(devices.features, devices.others_ms, measured_ms)
    new_ms = devices.device() * np.exp(0.05 * devices.rng.standard_normal(NETWORKS))
    _, low, high = predicted(devices, transfer, new_ms, transfer.choose(10))
    assert ((low <= new_ms) & (new_ms <= high)).mean() > 0.88


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_impossible_latencies_are_refused(bad: float) -> None:
    devices = Devices(0)
    transfer = devices.learnt()
    ten = transfer.choose(10)
    measured = devices.others_ms[0, ten].copy()
    measured[3] = bad
    with pytest.raises(BadInput, match="not a positive number"):
        transfer.fit(ten, measured)
    devices.others_ms[2, 7] = bad
    with pytest.raises(BadInput, match="not a positive number"):
        learn(devices.features, devices.others_ms)


def test_what_else_is_refused() -> None:
    devices = Devices(0)
    transfer, ms = devices.learnt(), devices.others_ms[0]
    with pytest.raises(BadInput, match="too few"):
        transfer.fit([1, 2], ms[[1, 2]])
    with pytest.raises(BadInput, match="3 networks but 2"):
        transfer.fit([1, 2, 3], ms[[1, 2]])
    with pytest.raises(BadInput, match="not different known ones"):
        transfer.fit([1, 2, 2], ms[[1, 2, 2]])
    with pytest.raises(BadInput, match="not different known ones"):
        transfer.fit([1, 2, NETWORKS], ms[[1, 2, 3]])
    with pytest.raises(BadInput, match="cannot be chosen"):
        transfer.choose(NETWORKS + 1)
    with pytest.raises(BadInput, match="at least two other devices"):
        learn(devices.features, devices.others_ms[:1])
    with pytest.raises(BadInput, match="do not belong together"):
        learn(devices.features[1:], devices.others_ms)
    with pytest.raises(BadInput, match="none of the other devices"):
        learn(devices.features, devices.others_ms, np.full_like(devices.others_ms, np.nan))
    found = transfer.fit(transfer.choose(10), ms[transfer.choose(10)])
    with pytest.raises(BadInput, match="learnt from 6 devices"):  # one device is missing
        found.predict(devices.features, devices.others_ms[:5])
    devices.features[0, 0] = np.nan
    with pytest.raises(BadInput, match="not a finite number"):
        learn(devices.features, devices.others_ms)


def test_measured_devices_that_the_method_was_tuned_on() -> None:
    folder = Path(os.environ.get("HWNAS_DATA", "")) / "latency_help"
    if "HWNAS_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("set HWNAS_DATA to a folder that holds latency_help/ and nb201/")
    command = [sys.executable, "benchmarks/transfer.py", "--space", "nb201", "--split", "valid", "--seeds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    means = dict(re.findall(r"\| (ten chosen, \w+) \| Spearman \| .* \| (0\.\d+) \| +\|", done.stdout))
    assert float(means["ten chosen, features"]) > 0.96
