"""ONNX → OpenVINO's own format (https://docs.openvino.ai, "OpenVINO IR"): a graph as XML, and its weights."""

import io
import tempfile
from functools import cache
from pathlib import Path

import onnx
import openvino as ov

from hwnas.core.errors import BadInput


@cache
def core() -> ov.Core:
    """One for the process, and for ever. Each gives the thread an alternate signal stack and unmaps it when it goes;
    of two that live side by side the second leaves the first one's behind, and the next signal (Ctrl-C, the end of a
    worker) kills the process (OpenVINO 2026.4).
    """
    return ov.Core()


def to_ir(model: bytes, fp16: bool = False) -> tuple[bytes, bytes]:
    """`model`: ONNX, in fp32 or with explicit quantisation; its metadata goes along. `fp16`: weights are kept in half
    precision; what computes in it is the device's to decide. Raises BadInput naming what OpenVINO refuses.
    """
    try:
        network = core().read_model(io.BytesIO(model))
    except RuntimeError as error:
        raise BadInput(f"openvino refuses the model: {' '.join(str(error).split())[-300:]}") from error
    for entry in onnx.load_model_from_string(model).metadata_props:
        network.set_rt_info(entry.value, ["hwnas", entry.key.removeprefix("hwnas.")])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(network, path, compress_to_fp16=fp16)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
