"""One exporter for TensorRT 10 and 11: an emulated library that has what both have, and fails for what 11 removed.

The stand-ins take the calls that hwnas makes; that real engines come out is tested by TensorRT-RTX (test_tensorrt.py).
What 11 lacks is as its release notes say: the builder's fp16 and int8 flags and the calibrators; all networks are
strongly typed there.
"""

import enum
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from hwnas.core.errors import BadInput, Unavailable

MODULES = ("hwnas.formats.tensorrt_engine", "hwnas.exporters.tensorrt", "hwnas.exporters.tensorrt_int8")


class Strict:
    """An object of the emulated library: what it does not define is an error, whoever asks."""


def library(version: str) -> ModuleType:
    """`calls`: what was asked of it."""
    major, calls = int(version.partition(".")[0]), []
    flags = ["TF32", "REFIT", "FP8"] + (["FP16", "INT8", "BF16"] if major < 11 else [])
    creation = {"STRONGLY_TYPED": 1} if major < 11 else {}

    class Config(Strict):
        def clear_flag(self, flag: object) -> None:
            calls.append(("clear", str(flag)))

        def set_flag(self, flag: object) -> None:
            calls.append(("set", str(flag)))

        def create_timing_cache(self, content: bytes) -> str:
            return "cache"

        def set_timing_cache(self, cache: str, ignore_mismatch: bool) -> None:
            calls.append(("timing cache", ignore_mismatch))

        def add_optimization_profile(self, profile: object) -> None:
            calls.append(("profile", profile))

    class Profile(Strict):
        def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
            self.shapes = shapes

    class Network(Strict):
        num_inputs = num_outputs = 1

        def get_input(self, place: int) -> SimpleNamespace:
            return SimpleNamespace(name="input", shape=(-1, 3, 16, 16), dtype="float32")

    class Builder(Strict):
        def __init__(self, logger: object) -> None: ...

        def create_network(self, flags: int) -> Network:
            calls.append(("network", flags))
            return Network()

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Network, config: Config) -> bytes:
            return b"engine"

    class Parser(Strict):
        num_errors = 0

        def __init__(self, network: Network, logger: object) -> None: ...

        def parse(self, model: bytes) -> bool:
            return True

    class Logger:
        Severity = enum.Enum("Severity", ["ERROR", "INTERNAL_ERROR", "WARNING"])

    made = ModuleType("tensorrt")
    made.__version__ = version  # type: ignore[attr-defined]
    contents = {"Builder": Builder, "OnnxParser": Parser, "ILogger": Logger, "float32": "float32", "calls": calls}
    contents["BuilderFlag"] = enum.Enum("BuilderFlag", flags)
    contents["NetworkDefinitionCreationFlag"] = enum.IntEnum("NetworkDefinitionCreationFlag", creation)
    vars(made).update(contents)
    return made


@pytest.fixture(params=["10.13.0", "11.0.0"])
def emulated(request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """hwnas's TensorRT code over the emulated library, on a machine with an NVIDIA L4."""
    (tmp_path / "nvidia-smi").write_text(
        '#!/bin/sh\ncase "$*" in *compute_cap*) echo 8.9;; *) echo "NVIDIA L4, 570";; esac\n'
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    made = library(request.param)
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield made
    for name in MODULES:  # the next import finds the real library again
        sys.modules.pop(name, None)


def test_an_engine_is_built_by_either_with_no_precision_flag(emulated: ModuleType) -> None:
    exporter = importlib.import_module("hwnas.exporters.tensorrt").Tensorrt()
    engine, sidecar, model = exporter.built(b"an ONNX model")
    assert (engine, model) == (b"engine", b"an ONNX model")
    asked = [what for what, _ in emulated.calls]  # type: ignore[attr-defined]
    assert "set" not in asked
    assert ("clear", "BuilderFlag.TF32") in emulated.calls and ("timing cache", False) in emulated.calls
    ten = emulated.__version__.startswith("10")
    assert dict(emulated.calls)["network"] == (2 if ten else 0)  # strongly typed: a flag of 10, the only kind in 11
    assert dict(emulated.calls)["profile"].shapes == ((1, 3, 16, 16), (1, 3, 16, 16), (64, 3, 16, 16))
    facts = json.loads(sidecar)
    assert (facts["library"], facts["version"]) == ("tensorrt", emulated.__version__)
    assert (facts["gpu"], facts["compute_capability"]) == ("NVIDIA L4", "8.9")
    assert facts["batches"] == [1, 1, 64] and "strongly typed" in facts["flags"]


def test_an_engine_of_the_other_version_or_of_another_gpu_is_refused(emulated: ModuleType) -> None:
    module = importlib.import_module("hwnas.formats.tensorrt_engine")
    files = [b"engine", module.described(b"engine", b"model", (1, 1, 64)), b"model"]
    assert module.require_for_this_gpu(*files).gpu == "NVIDIA L4"
    facts = json.loads(files[1])
    other = "11.0.0" if facts["version"].startswith("10") else "10.13.0"
    for change in (
        {"version": other},
        {"gpu": "NVIDIA L40S"},
        {"compute_capability": "9.0"},
        {"library": "tensorrt_rtx"},
    ):
        with pytest.raises(BadInput) as refused:
            module.require_for_this_gpu(files[0], json.dumps(facts | change).encode(), files[2])
        assert "hwnas rebuild" in refused.value.mend
    for place in (0, 2):
        swapped = [content + b"!" * (number == place) for number, content in enumerate(files)]
        with pytest.raises(BadInput, match="not the one"):
            module.require_for_this_gpu(*swapped)


def test_without_a_gpu_tensorrt_builds_nothing(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its engines are for the GPU that they are built on."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="NVIDIA GPU"):
        importlib.import_module("hwnas.exporters.tensorrt").Tensorrt().built(b"model")


@pytest.mark.parametrize("sidecar", [b"", b"{", b"[]", b"{}", b'{"format": 2}', b"[" * 100_000])
def test_a_sidecar_that_is_none_is_bad_input(sidecar: bytes) -> None:
    from hwnas.formats.engine_facts import read_facts

    with pytest.raises(BadInput, match="sidecar"):
        read_facts(sidecar)
