"""What a profile must not mix, and spaces with too few networks, on a simulated device."""

from pathlib import Path
from random import Random

import pytest
import yaml
from conftest import hwnas
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.errors import BadInput
from hwnas.latency.additive import Additive
from hwnas.latency.networks import fitted_and_held_out, shares, spread
from hwnas.latency.table import load_table
from hwnas.testing import simulated
from hwnas.testing.paper import PaperSpace, one_operator_an_option, prices

PROFILE = ("profile", "--config", "tiny.yaml", "--target", "device.yaml")
WIDER = ("--set", "space.head_width=40")
OTHER = ("--set", "profile.protocol.rounds=3", "--set", "profile.protocol.turn_ms=0.7")


@pytest.fixture
def table(bare: Path) -> Path:
    target = {"name": "device", "runtime": str(simulated.__file__)}
    (bare / "device.yaml").write_text(yaml.safe_dump(target))
    assert hwnas(*PROFILE).code == 0
    return bare / "latency_tables" / "device.json"


def test_another_protocol_adds_nothing_to_a_table(table: Path):
    before = table.read_bytes()
    outcome = hwnas(*PROFILE, *WIDER, *OTHER)
    assert outcome.code == 2
    assert "rounds 5 there, 3 asked" in outcome.stderr and "turn_ms 0.5 there, 0.7 asked" in outcome.stderr
    assert "--fresh" in outcome.stderr
    assert table.read_bytes() == before
    mend = [word for word in outcome.stderr.split() if word.startswith("profile.protocol.")]
    keep = [word for setting in mend for word in ("--set", setting.rstrip(";"))]
    assert len(keep) == 4
    assert hwnas(*PROFILE, *WIDER, *OTHER, *keep).code == 0
    assert len(load_table(table).calibration) == 2


def test_another_protocol_is_taken_with_fresh_or_when_nothing_is_lacking(table: Path):
    before = table.read_bytes()
    assert hwnas(*PROFILE, *OTHER).code == 0
    assert table.read_bytes() == before
    assert hwnas(*PROFILE, *OTHER, "--fresh").code == 0
    protocol = load_table(table).protocol
    assert protocol is not None and protocol.rounds == 3


def test_a_space_of_few_networks_is_profiled_by_shares(table: Path):
    small = ("--set", "space.depths=[1,1]", "--set", "space.kernels=[3,5]")
    many = ("--set", "profile.fitted=40", "--set", "profile.held_out=16")
    assert "25 whole networks" in hwnas(*PROFILE, *small, *many, "--dry-run").stdout
    before = load_table(table).calibration.keys()
    assert hwnas(*PROFILE, *small, *many).code == 0
    ((_, new),) = ((key, c) for key, c in load_table(table).calibration.items() if key not in before)
    assert (len(new.fitted), len(new.held_out)) == (15, 5)
    assert len({n.arch for n in new.fitted + new.held_out}) == 20


def test_a_space_of_too_few_networks_says_so(table: Path):
    outcome = hwnas(*PROFILE, "--set", "space.depths=[1,1]", "--set", "space.kernels=[3]")
    assert outcome.code == 2
    assert "only 6 networks" in outcome.stderr and "mend:" in outcome.stderr


@settings(max_examples=40, deadline=None)
@given(widths=st.lists(st.integers(1, 4), min_size=1, max_size=4), allowed=st.integers(1, 3))
def test_networks_are_disjoint_and_of_the_space_however_few(widths: list[int], allowed: int):
    space = PaperSpace(widths, one_operator_an_option(widths), allowed=lambda arch: sum(arch) % allowed == 0)
    additive = Additive(space, prices(sum(widths), seed=0))  # type: ignore[arg-type]
    try:
        fitted, held_out = fitted_and_held_out(space, additive, 40, 16, seed=0)
    except BadInput as error:
        assert len(spread(space, additive, 60, Random(0))) < 12 and error.mend
        return
    assert not set(fitted) & set(held_out)
    assert len(fitted) == len(set(fitted)) >= 8 and len(held_out) == len(set(held_out)) >= 4
    assert all(space.valid(arch) for arch in fitted + held_out)


@given(networks=st.integers(12, 200), fitted=st.integers(8, 60), held_out=st.integers(4, 40))
def test_shares(networks: int, fitted: int, held_out: int):
    teach, judge = shares(networks, fitted, held_out)
    assert teach + judge == min(networks, fitted + held_out)
    assert judge >= 4 and teach >= 8
