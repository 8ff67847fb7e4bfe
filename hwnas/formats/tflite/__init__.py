"""ONNX → TFLite, the format of LiteRT and of Arm's compiler: fp32, or int8 where explicit Q/DQ says so.

NHWC throughout and not one transpose: channels are moved in the weights, here, once. An int8 model takes and gives
int8, with the scales of the first and the last Q in the file.
"""

from hwnas.formats.reader import OnnxGraph
from hwnas.formats.tflite.converter import Converter
from hwnas.formats.tflite.layers import OPERATORS


def from_onnx(model: bytes, batch: int = 1) -> bytes:
    """`model`: one float input [batch, channels, height, width], one output; in int8, activations are int8 per tensor
    and weights symmetric int8, per channel or not. The file takes [batch, height, width, channels].

    Raises BadInput naming the operator that cannot be written, or for what is no sound ONNX model.
    """
    return Converter(OnnxGraph(model), batch).convert(OPERATORS)
