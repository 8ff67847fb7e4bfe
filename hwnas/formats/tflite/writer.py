"""A TFLite flatbuffer: one subgraph, put together tensor by tensor (schema: tensorflow/compiler/mlir/lite/schema)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TYPES = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}
_INT8_VERSIONS = {
    schema.BuiltinOperator.CONV_2D: 3,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
    schema.BuiltinOperator.FULLY_CONNECTED: 4,
    schema.BuiltinOperator.ADD: 2,
    schema.BuiltinOperator.MUL: 2,
    schema.BuiltinOperator.MEAN: 2,
    schema.BuiltinOperator.PAD: 2,
    schema.BuiltinOperator.RELU: 2,
    schema.BuiltinOperator.RELU6: 2,
    schema.BuiltinOperator.LOGISTIC: 2,
    schema.BuiltinOperator.QUANTIZE: 2,
}
"""The first version of an operator that takes int8 (with one scale a channel); 1 where not listed."""


@dataclass(frozen=True)
class Quantisation:
    """real = scale · (q − zero_point). `scale`: one number, or one for each index along `axis`."""

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0

    def quantise(self, real: float) -> np.ndarray:
        """One number as an int8 tensor without dimensions."""
        return np.array(np.clip(round(real / self.scale[0]) + self.zero_point, -128, 127), np.int8)


class Writer:
    """Tensors are named by their index, as TFLite does."""

    def __init__(self) -> None:
        self._tensors: list[schema.TensorT] = []
        self._buffers: list[schema.BufferT] = [schema.BufferT()]  # the first is the empty one, by convention
        self._operators: list[schema.OperatorT] = []
        self._codes: dict[tuple[int, int], int] = {}

    def activation(self, name: str, shape: Sequence[int], quant: Quantisation | None) -> int:
        return self._tensor(name, shape, "int8" if quant else "float32", 0, quant)

    def constant(self, name: str, array: np.ndarray, quant: Quantisation | None = None) -> int:
        self._buffers.append(_AlignedBuffer(data=np.frombuffer(array.tobytes(), np.uint8)))
        return self._tensor(name, array.shape, str(array.dtype), len(self._buffers) - 1, quant)

    def operator(self, builtin: int, inputs: list[int], output: int, options: Any = None) -> None:
        int8 = self._tensors[output].type == schema.TensorType.INT8
        code = (builtin, _INT8_VERSIONS.get(builtin, 1) if int8 else 1)
        operator = schema.OperatorT(
            opcodeIndex=self._codes.setdefault(code, len(self._codes)), inputs=inputs, outputs=[output]
        )
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self._operators.append(operator)

    def finish(self, input: int, output: int) -> bytes:
        """The file."""
        graph = schema.SubGraphT(
            tensors=self._tensors, inputs=[input], outputs=[output], operators=self._operators, name="main"
        )
        codes = [
            schema.OperatorCodeT(deprecatedBuiltinCode=min(builtin, 127), builtinCode=builtin, version=version)
            for builtin, version in self._codes
        ]
        model = schema.ModelT(
            version=3, operatorCodes=codes, subgraphs=[graph], buffers=self._buffers, description="hwnas"
        )
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, name: str, shape: Sequence[int], kind: str, buffer: int, quant: Quantisation | None) -> int:
        packed = None
        if quant is not None:
            packed = schema.QuantizationParametersT(
                scale=np.array(quant.scale, np.float32),
                zeroPoint=np.full(len(quant.scale), quant.zero_point, np.int64),
                quantizedDimension=quant.axis,
            )
        self._tensors.append(
            schema.TensorT(
                name=name,
                shape=np.array(shape, np.int32),
                type=_TYPES[kind],
                buffer=buffer,
                quantization=packed,
                hasRank=True,
            )
        )
        return len(self._tensors) - 1


class _AlignedBuffer(schema.BufferT):
    """The schema asks for 16 bytes; the generated class aligns to one."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 (the generated class's name)
        assert isinstance(self.data, np.ndarray)
        builder.StartVector(1, len(self.data), 16)
        builder.head -= len(self.data)
        builder.Bytes[builder.head : builder.head + len(self.data)] = self.data.tobytes()
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)
