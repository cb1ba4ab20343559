"""INT8 quantisation of exported networks, with value ranges calibrated on images.

Weights get one scale per output channel, activations one per tensor, from their smallest and largest value averaged
over the calibration images: the extremes over all of them would follow the one image with the brightest target.
Only convolutions are quantised, and of those not the ones from or to a single channel: they read or write the
variables D, B, T and N, in which a faint target is a small part of the range. They take little of the time.
Depthwise convolutions, one channel a group, stay float32 likewise.

The result is an ONNX file with QuantizeLinear and DequantizeLinear nodes, which ONNX Runtime and OpenVINO both turn
into INT8 kernels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np


class CalibrationImages:
    """Images as ONNX Runtime's calibration reads them.

    Args:
        images: (B, 1, H, W) float32 each, padded to what the file takes.
        name: Of the file's input.
    """

    def __init__(self, images: Iterable[np.ndarray], name: str) -> None:
        self._images: Iterator[np.ndarray] = iter(images)
        self._name = name

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next image, None at the end."""
        image = next(self._images, None)
        return None if image is None else {self._name: image}


def quantise_onnx(path: Path, images: Iterable[np.ndarray]) -> None:
    """Quantise an ONNX file in place.

    Args:
        path: The file.
        images: (1, 1, H, W) float32 each, padded to what the file takes.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # both functions warn through the root logger of steps that are left out on purpose
    try:
        quant_pre_process(str(path), str(path), skip_symbolic_shape=True)
        graph = onnx.load(path).graph
        quantize_static(
            str(path),
            str(path),
            CalibrationImages(images, graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=['Conv'],
            nodes_to_exclude=_float_convolutions(graph),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={'CalibMovingAverage': True},
        )
    finally:
        root.setLevel(level)


def _float_convolutions(graph: object) -> list[str]:
    """Names of the convolutions from or to one channel a group, and of those whose weights are computed."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}  # type: ignore[attr-defined]
    return [
        node.name
        for node in graph.node  # type: ignore[attr-defined]
        if node.op_type == 'Conv' and 1 in shapes.get(node.input[1], (1,))[:2]
    ]
