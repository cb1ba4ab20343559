"""From a frame to what lies inside a detector: one interface for networks and classical methods.

Shape legend: every variable is (H, W) at the size the detector works at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from drpca.baselines.frame_windows import decomposition, scaled
from drpca.datasets.io import Levelled, resize_map, unit
from drpca.errors import UserError
from drpca.inference.mappers import BaselineMapper, NetworkMapper, ScoreMapper, WindowMapper
from drpca.models.unfolding import ABSENT
from drpca.registry import MODELS, network_names

SCALARS = ('epsilon', 'gamma', 'sigma')
"""Names of the learned scalars: step sizes ε of T and σ of N, and the weight γ of the old T in DRPCA-Net."""

_GENERATOR = '_generator'


@dataclass(frozen=True)
class StageRecord:
    """The variables after one stage, (H, W) float32 each.

    A network's variables are not confined to [0, 1]; the target of its last stage are logits. A classical
    method has one record, on the scale of the image.

    Attributes:
        reconstruction: D as the stage hands it on.
        background: B.
        target: T.
        noise: N, None where a method has no such variable.
        scalars: Learned scalars of the stage, by their names in ``SCALARS``, for this image.
    """

    reconstruction: np.ndarray
    background: np.ndarray
    target: np.ndarray
    noise: np.ndarray | None = None
    scalars: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FrameDecomposition:
    """A frame as the detector sees it, and the records of its stages.

    Attributes:
        image: (H, W) float32 in [0, 1], at the detector's size.
        stages: In the order of the iteration.
    """

    image: np.ndarray
    stages: list[StageRecord]

    def at_frame(self, image: np.ndarray) -> FrameDecomposition:
        """The same at the size of the frame, (H, W) float32 in [0, 1], for pictures (:func:`resize_map`)."""

        def resized(values: np.ndarray) -> np.ndarray:
            return resize_map(values, image.shape)

        stages = [
            StageRecord(
                resized(stage.reconstruction),
                resized(stage.background),
                resized(stage.target),
                None if stage.noise is None else resized(stage.noise),
                stage.scalars,
            )
            for stage in self.stages
        ]
        return FrameDecomposition(image, stages)


class Decomposer:
    """What the tools that look inside need of a detector.

    Args:
        mapper: The detector.
    """

    def __init__(self, mapper: Any) -> None:
        self.mapper = mapper

    def decompose(self, frame: np.ndarray | Levelled) -> FrameDecomposition:
        """(H, W) grey values → their decomposition."""
        raise NotImplementedError

    def scores(self, frame: Any) -> np.ndarray:
        """(H, W) grey values → (H', W') float32 in [0, 1]."""
        return next(iter(self.mapper.score_maps([('frame', frame)])))[1]

    def stream(self, frames: Iterable[tuple[str, Levelled]]) -> Iterator[tuple[FrameDecomposition, np.ndarray]]:
        """Decomposition and scores of one frame after the other."""
        for _, frame in frames:
            yield self.decompose(frame), self.scores(frame)

    def named(self, frames: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, FrameDecomposition]]:
        """Names and decompositions of frames, in order; of windows of them where the detector looks at several."""
        if self.mapper.frames == 1:
            for name, frame in frames:
                yield name, self.decompose(frame)
            return
        waiting: deque[str] = deque()

        def levelled() -> Iterator[tuple[str, Levelled]]:
            for name, frame in frames:
                waiting.append(name)
                yield name, self.mapper.values.level(frame, name)

        for parts, _ in self.stream(levelled()):
            yield waiting.popleft(), parts


class NetworkDecomposer(Decomposer):
    """Decompositions of a network that has ``decompose(image)``.

    Args:
        mapper: The network with its input rules.

    Raises:
        UserError: The network has no decomposition.
    """

    def __init__(self, mapper: NetworkMapper) -> None:
        super().__init__(mapper)
        if not mapper.has_stages:
            able = [name for name in network_names() if hasattr(MODELS.get(name), 'decompose')]
            raise UserError(
                f'{type(mapper.model.network).__name__} has no decomposition into background and target; use a '
                f'network that has: {", ".join(able)}.'
            )

    def decompose(self, frame: np.ndarray | Levelled) -> FrameDecomposition:
        return self._decomposed(self.mapper.prepare(frame)[None])

    def stream(self, frames: Iterable[tuple[str, Levelled]]) -> Iterator[tuple[FrameDecomposition, np.ndarray]]:
        if self.mapper.frames == 1:
            yield from super().stream(frames)
            return
        for window, _ in self.mapper.windows(frames):
            found = self._decomposed(np.stack([image for *_, image in window]))
            yield found, expit(found.stages[-1].target)

    @torch.inference_mode()
    def _decomposed(self, window: np.ndarray) -> FrameDecomposition:
        """Of one image (1, H, W), or of the reported frame of a window (n, H, W)."""
        tensor = torch.from_numpy(window)[None].to(self.mapper.device)
        with recorded_scalars(self.mapper.model.network) as scalars:
            states = self.mapper.model.decompose(tensor)
        stages = []
        for number, state in enumerate(states):
            reconstruction, background, target = (_array(value) for value in state[:3])
            noise = None if state.noise is ABSENT else _array(state.noise)
            stages.append(StageRecord(reconstruction, background, target, noise, scalars.get(number, {})))
        shown = self.mapper.reported[0] if len(window) > 1 else 0
        return FrameDecomposition(window[shown], stages)


def _array(value: Tensor) -> np.ndarray:
    return value[0, 0].float().cpu().numpy()


class BaselineDecomposer(Decomposer):
    """Decompositions of a classical method, one record each: B and T of its last iteration."""

    def decompose(self, frame: np.ndarray | Levelled) -> FrameDecomposition:
        image = self.mapper.baseline.prepare(self.mapper.values.level(frame).image)
        parts = self.mapper.baseline.decompose(image)
        stage = StageRecord(parts.reconstruction, parts.background, parts.target, parts.noise)
        return FrameDecomposition(unit(image), [stage])


class WindowDecomposer(Decomposer):
    """Decompositions of a method for windows of frames, one record each: B, T and N of the frame."""

    def decompose(self, frame: np.ndarray | Levelled) -> FrameDecomposition:
        return next(self.stream([('frame', self.mapper.values.level(frame))]))[0]

    def stream(self, frames: Iterable[tuple[str, Levelled]]) -> Iterator[tuple[FrameDecomposition, np.ndarray]]:
        for _, _, image, solved in self.mapper.solved_frames(frames):
            parts = decomposition(solved)
            noise = None if parts.noise is None else parts.noise[0]
            stage = StageRecord(parts.reconstruction[0], parts.background[0], parts.target[0], noise)
            yield FrameDecomposition(image, [stage]), scaled(solved.target[0])


def make_decomposer(mapper: ScoreMapper) -> Decomposer:
    """The decomposer of a detector's ``mapper``.

    Raises:
        UserError: The network has no decomposition, or was exported. A classical filter says so at the first
            frame.
    """
    if isinstance(mapper, NetworkMapper):
        return NetworkDecomposer(mapper)
    if isinstance(mapper, WindowMapper):
        return WindowDecomposer(mapper)
    if isinstance(mapper, BaselineMapper):
        return BaselineDecomposer(mapper)
    raise UserError('An exported network shows nothing of its inside: give its weight file instead.')


@contextmanager
def recorded_scalars(network: nn.Module) -> Iterator[dict[int, dict[str, float]]]:
    """Collects the learned scalars of every stage while a network runs on one image.

    RPCANet and its kin learn them as parameters, the same for all images; DRPCA-Net generates them from each
    image in modules called ``epsilon_generator`` and ``gamma_generator``, which are listened to.

    Yields:
        Stage (from 0) → name → value; the generated ones are there once the network has run.
    """
    values: dict[int, dict[str, float]] = {}
    hooks = []
    stages: Any = getattr(network, 'decos', [])
    for number, stage in enumerate(stages):
        found = values.setdefault(number, {})
        for path, parameter in stage.named_parameters():
            name = path.rsplit('.', 1)[-1]
            if name in SCALARS and parameter.numel() == 1:
                found[name] = float(parameter)
        for path, module in stage.named_modules():
            name = path.rsplit('.', 1)[-1]
            if name.endswith(_GENERATOR) and name.removesuffix(_GENERATOR) in SCALARS:
                hooks.append(module.register_forward_hook(_keep(found, name.removesuffix(_GENERATOR))))
    try:
        yield values
    finally:
        for hook in hooks:
            hook.remove()


def _keep(found: dict[str, float], name: str) -> Any:
    thread = get_ident()

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if get_ident() == thread:  # others may run the same network
            found[name] = float(output)  # (1, 1, 1, 1): one image, one value

    return hook
