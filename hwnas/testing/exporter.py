"""What every exporter must do: write a whole file that computes what the network computes, or none at all."""

import ast
from functools import cache
from pathlib import Path
from random import Random
from unittest import SkipTest

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from hwnas.core.config import validate
from hwnas.core.errors import StorageFailed, Unavailable, VerificationFailed
from hwnas.core.plugins import load
from hwnas.deploy.parity import compare_session, require_parity
from hwnas.deploy.samples import logits_of
from hwnas.devices import open_runtime
from hwnas.exporters import Exporter
from hwnas.exporters.onnx import to_onnx
from hwnas.spaces.mobile import Mobile, MobileSettings
from hwnas.testing.space import perturbed

NETWORKS = 2
BATCHES = (1, 7)
SKELETON = {
    "widths": [16, 24],
    "depths": [2, 2],
    "strides": [1, 2],
    "squeeze_excite": True,
    "activation": "hardswish",
}


def check_whole_file(name: str, folder: Path) -> None:
    """The file where it was asked for, its companions, nothing else; the network as before. ONNX passes its check."""
    exporter, (network, samples) = _exporter(name), example(0)
    path = folder / "out" / exporter.filename
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    exporter.export(network, samples, path, {"maker": "hwnas"})
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items()), "the network changed"
    assert {p.name for p in path.parent.iterdir()} == {exporter.filename, *exporter.companions}
    assert all(p.stat().st_size > 0 for p in path.parent.iterdir())
    if path.suffix == ".onnx":
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert {"maker": "hwnas"}.items() <= {p.key: p.value for p in model.metadata_props}.items()


def check_parity(name: str, folder: Path) -> None:
    """Random networks give the same logits or answers, all at once and one by one (where this machine runs it)."""
    exporter = _exporter(name)
    try:
        runtime = open_runtime(exporter.judge)
    except Unavailable as error:
        raise SkipTest(error.what) from error
    for seed in range(NETWORKS):
        network, samples = example(seed)
        session = runtime.load_exported(*exporter.convert(_onnx(seed), samples.numpy()))
        parity = compare_session(type(exporter), session, samples, logits_of(network, samples))
        try:
            require_parity(parity, type(exporter), exporter.filename)
        except VerificationFailed as error:
            raise AssertionError(error.what) from error


def check_model_card(name: str, folder: Path) -> None:
    """Its lines are Python that sets `logits`, with no more than the format's own library and numpy."""
    exporter = _exporter(name)
    lines = exporter.lines.format(filename=exporter.filename)
    assert exporter.filename in lines and exporter.needs
    tree = ast.parse(lines)
    assert any(isinstance(n, ast.Name) and n.id == "logits" and isinstance(n.ctx, ast.Store) for n in ast.walk(tree))
    assert "hwnas" not in lines


def check_recompiled(name: str, folder: Path) -> None:
    """Compiled again from its own files, it is the same format: as many files, and what it was made of unchanged."""
    exporter, (_, samples) = _exporter(name), example(0)
    files = exporter.convert(_onnx(0), samples.numpy())
    again = exporter.recompiled(*files)
    assert len(again) == len(files) == 1 + len(exporter.companions) and (again == files or again[-1] == files[-1])


def check_unwritable_folder(name: str, folder: Path) -> None:
    """Where nothing can be written: StorageFailed, and nothing half-written."""
    exporter, (network, samples) = _exporter(name), example(0)
    (folder / "a_file").write_text("in the way")
    try:
        exporter.export(network, samples, folder / "a_file" / exporter.filename, {})
    except StorageFailed:
        assert [p.name for p in folder.iterdir()] == ["a_file"]
        return
    raise AssertionError("a file in a folder that cannot be was written without an error")


def example(seed: int, **skeleton: object) -> tuple[nn.Module, Tensor]:
    """A random network of the mobile space with trained-looking statistics, and inputs for it. By default four blocks,
    with squeeze-excitation and hard-swish."""
    space = Mobile(validate(MobileSettings, skeleton or SKELETON, "space"), channels=3, classes=10)
    torch.manual_seed(seed)
    network = perturbed(space.build(space.random(Random(seed)))).eval()
    return network, torch.randn(8, *space.input_shape)


def worst_difference(model: bytes, network: nn.Module, samples: Tensor) -> float:
    """Largest |difference| of a logit between ONNX Runtime and torch, at batch 1 and 7, relative to the largest logit
    where that is above 1."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in BATCHES:
        x = samples[:batch]
        with torch.no_grad():
            expected = network(x).numpy()
        (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        worst = max(worst, float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max())))
    return worst


@cache
def _onnx(seed: int) -> bytes:
    """What every format is made of; the slowest part, and the same for all."""
    return to_onnx(*example(seed))


def _exporter(name: str) -> Exporter:
    return load("exporters", name)()
