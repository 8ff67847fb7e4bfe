"""What values a network's activations take: the calibration of a static quantisation."""

import numpy as np
import onnx
import onnxruntime as ort

from hwnas.core.errors import BadInput

Range = tuple[float, float]
"""Smallest and largest value; holds 0, which padding needs exactly."""

_BATCH = 4
"""Every activation of a batch is held at once: 50 MB an image at 224 pixels."""


def activation_ranges(model: onnx.ModelProto, samples: np.ndarray) -> dict[str, Range]:
    """Of the input and of every float tensor that a node computes, over all samples. One thread: the same every time.

    Raises BadInput when the model computes something that is not finite.
    """
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output if name]
    del observed.graph.output[:]
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # tensors must not be fused away
    options.log_severity_level = 3
    session = ort.InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    ranges: dict[str, Range] = {}
    for start in range(0, len(samples), _BATCH):
        batch = samples[start : start + _BATCH]
        computed = map(np.asarray, session.run(names, {source.name: batch}))
        for name, values in zip([source.name, *names], [batch, *computed], strict=True):
            if values.dtype == np.float32:
                low, high = ranges.get(name, (0.0, 0.0))
                ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
    broken = [name for name, ends in ranges.items() if not np.isfinite(ends).all()]
    if broken:
        raise BadInput(f"the network computes infinite values ('{broken[0]}'): it cannot be quantised")
    return ranges
