"""CUDA graphs: a network's kernels recorded once per input shape and launched as one.

Small networks on small images leave a GPU waiting for Python to launch kernels; a graph has no such gaps.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

WARM_UP = 3


class Recording(NamedTuple):
    """A captured call: fill ``input``, call ``replay``, read ``output``."""

    input: Tensor
    output: Tensor
    replay: Callable[[], None]


def record(function: Callable[[Tensor], Tensor], image: Tensor) -> Recording:
    """Capture a function's kernels for images of one shape.

    The calls before it, on a stream of their own as PyTorch asks for, let libraries choose algorithms and allocate.
    """
    static = image.clone(memory_format=torch.contiguous_format)
    stream = torch.cuda.Stream(image.device)
    stream.wait_stream(torch.cuda.current_stream(image.device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function(static)
    torch.cuda.current_stream(image.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # What other threads do meanwhile does not end the recording.
    with torch.cuda.device(image.device), torch.cuda.graph(graph, capture_error_mode='thread_local'):
        output = function(static)
    return Recording(static, output, graph.replay)


class GraphedFunction:
    """A function of one CUDA tensor that is recorded at the first call with a shape and replayed afterwards.

    One thread at a time: all calls with a shape share its tensors. A copy records anew.

    Args:
        function: Image → result; without branches on values.
        max_shapes: Recordings to keep; each holds the memory of its intermediate results. The one that was not
            used for longest makes room.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], max_shapes: int = 4) -> None:
        self.function = function
        self.max_shapes = max_shapes
        self._recordings: OrderedDict[tuple[torch.Size, torch.dtype], Recording] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return GraphedFunction, (self.function, self.max_shapes)

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        key = image.shape, image.dtype
        with self._lock:
            if key not in self._recordings:
                if len(self._recordings) == self.max_shapes:
                    self._recordings.popitem(last=False)
                self._recordings[key] = record(self.function, image)
            self._recordings.move_to_end(key)
            recording = self._recordings[key]
            recording.input.copy_(image)
            recording.replay()
            output = recording.output.clone()
            if image.is_cuda:  # the next thread may have a stream of its own
                torch.cuda.current_stream(image.device).synchronize()
        return output
