"""4-D tensor train (Wu, Yu, Liu, Luo, Peng, IEEE TGRS 61, 2023) that goes on with each new frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np

from drpca.baselines.frame_windows import PatchStack, Placement, SolvedFrames
from drpca.baselines.parallel import one_thread
from drpca.baselines.rpca import Parts, Records
from drpca.baselines.tensor_ring import USUAL
from drpca.baselines.tensor_train import TensorTrain
from drpca.baselines.unfoldings import Solution, solve_unfoldings
from drpca.errors import UserError
from drpca.registry import BASELINES

FIRST_ITERATIONS = 10
"""For a frame with nothing before it."""

_USUAL = {
    'input_size': None,
    'sparsity': USUAL['sparsity'],
    'noise_weight': USUAL['noise_weight'],
    'patch_size': 10,
    'step': 10,
}


@BASELINES.register_module()
class TensorTrainOnline(TensorTrain):
    """:class:`TensorTrain` over the newest frames, a few iterations for each new one; a form of this project.

    B, T, N and the multipliers of the last window move on by a frame, the new one being all background, and the solver
    goes on from there: ``iterations`` with β from ``penalty`` and ρ = ``growth``, in float32, without a rule to stop.
    The result is that of the newest frame, for which nothing waits. The window grows to its size with the first frames;
    the very first one, alone, gets ten iterations that end at the same β. A constant frame has no target, and all
    starts anew after it. What is in memory does not grow with the sequence. 'fast' looks at 3 frames, 'accurate' at 5.

    So few frames do not tell a lamp that stands still from a target. The map is therefore what T has gained over its
    least value at the same pixel in the ``memory`` frames before, once there are so many. A target that stays on its
    very pixels for as long fades from the map, though not from the part T.

    Parameters: as :class:`TensorTrain`, ``window`` being the most frames, with ``iterations``, ``penalty``,
    ``growth`` and ``memory`` in place of ``tolerance`` and ``max_iterations``.
    """

    placement: ClassVar[Placement] = 'last'
    iterations: int
    penalty: float
    growth: float
    memory: int
    PRESETS = {
        'fast': {**_USUAL, 'window': 3, 'iterations': 6, 'penalty': 0.2, 'growth': 1.7, 'memory': 10},
        'accurate': {**_USUAL, 'window': 5, 'iterations': 8, 'penalty': 0.1, 'growth': 1.6, 'memory': 10},
    }

    def __init__(self, preset: str = 'fast', **overrides: object) -> None:
        super().__init__(preset, **overrides)
        if self.window < 2:
            raise UserError(
                f'{type(self).__name__}: expected at least 2 for window, got {self.window}: it goes on from the frames '
                'before; single frames are for methods like ipi.'
            )

    def stream(self, frames: Iterable[np.ndarray], records: Records = None) -> Iterator[SolvedFrames]:
        stack: PatchStack | None = None
        data: np.ndarray | None = None
        solution: Solution | None = None
        before: deque[np.ndarray] = deque(maxlen=self.memory)
        for frame in frames:
            if stack is None:
                self._check_size(frame.shape)
                stack = PatchStack(frame.shape, self.patch_size, self.step)
            self._check_same_size(stack.shape, frame.shape)
            if frame.min() == frame.max():
                data = solution = None
                before.clear()
                yield self._solve([frame], records)
                continue
            new = stack.patches(frame[None].astype(np.float32) / 255)
            data = new if data is None else np.concatenate([data[:, :, -self.window + 1 or 1 :], new], axis=2)
            with one_thread:
                solution = self.advance(data, solution, records)
            parts = (solution.background, solution.target, solution.noise)
            newest = Parts(*(part[:, :, -1:] for part in parts if part is not None))
            target = np.maximum(stack.frames(newest.target, 'last'), 0)
            stood = np.minimum.reduce(before) if len(before) == self.memory else 0
            before.append(target)
            yield SolvedFrames(target - stood, stack.parts(newest), 255.0)
        self._check_count(0 if stack is None else 1, 1)

    def advance(self, data: np.ndarray, last: Solution | None, records: Records = None) -> Solution:
        """Solves for a window whose last frame is new.

        Args:
            data: (p, p, n, patches) float32 in [0, 1].
            last: Of the window before; None: there is none, n is 1.
            records: List that takes one record per iteration, or None.
        """
        count = FIRST_ITERATIONS if last is None else self.iterations
        found, sparse_weight = self.unfoldings(data.shape)
        return solve_unfoldings(
            data, found, sparse_weight, self.noise_weight, tolerance=None, max_iterations=count, records=records,
            penalty=self.penalty * self.growth ** (self.iterations - count), growth=self.growth,
            start=None if last is None else last.moved_on(data),
        )  # fmt: skip
