"""Whole searches on a Ray cluster: the same decisions as here, and a node that vanishes costs none of them."""

from pathlib import Path
from typing import Any

import pytest
from conftest import hwnas, start
from test_worker_runs import BY_SCRIPT, SEARCH, decided, journal, scripted, wait_for

pytestmark = pytest.mark.slow
__all__ = ["scripted"]


def test_a_cluster_decides_as_this_process(workspace: Path, cluster: Any) -> None:
    command = (*SEARCH, "--set", "strategy.trials=5", "--set", "estimator.name=early-stop")
    here = hwnas(*command, "--out", "here")
    there = hwnas(*command, "--workers", 2, "--set", f"ray.address={cluster.address}", "--out", "there")
    assert here.code == there.code == 0, there.stderr
    assert journal("here").digest() == journal("there").digest()


def test_a_node_that_vanishes(scripted: Path, cluster: Any) -> None:
    assert hwnas(*BY_SCRIPT, "--out", "whole").code == 0
    Path("asked.log").unlink()
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    words = ("--set", "estimator.seconds=1", "--workers", 3, "--set", f"ray.address={cluster.address}")
    head = start(*BY_SCRIPT, *words, "--out", "r", folder=scripted)
    wait_for(head, 5)
    cluster.remove_node(node, allow_graceful=False)
    _, stderr = head.communicate(timeout=300)
    assert head.returncode == 0, stderr
    assert "attempt 2 of 3" in stderr and "Traceback" not in stderr
    assert decided("r") == decided("whole")


def test_no_cluster_at_the_address_is_told(workspace: Path) -> None:
    pytest.importorskip("ray", reason="needs pip install 'hwnas[ray]'")
    words = ("--set", "estimator.name=early-stop", "--workers", 2, "--set", "ray.address=127.0.0.1:1")
    outcome = hwnas(*SEARCH, *words, "--out", "r")
    assert outcome.code == 4 and "no Ray cluster answers at 127.0.0.1:1" in outcome.stderr
    assert "Traceback" not in outcome.stderr
