"""What all classical detectors share: presets, checked input, score maps, decompositions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from drpca.datasets.io import GreyRule, resize_image, to_unit
from drpca.errors import UserError, unknown_name


@dataclass(frozen=True)
class IterationRecord:
    """State of a solver after one iteration.

    Attributes:
        residual: ‖D − B − T (− N)‖_F / ‖D‖_F.
        objective: Value of the function the method minimises (its docstring gives it), without the
            constraint.
        rank: Rank of B (for tensors the largest over the Fourier slices).
        nonzeros: Non-zero entries of T.
    """

    residual: float
    objective: float
    rank: int
    nonzeros: int


@dataclass(frozen=True)
class Decomposition:
    """D = B + T (+ N) as images of the size of the input, values where the input spans [0, 1].

    Overlapping patches are averaged here, whatever the method does for its score map, so that the parts add
    up to the image but for the solver's residual. A pixel that no patch covers is background.

    Attributes:
        background: B, (H, W) float32.
        target: T, (H, W) float32.
        noise: N, (H, W) float32, or None for methods without a noise term.
        trace: One record per iteration if asked for, else None.
    """

    background: np.ndarray
    target: np.ndarray
    noise: np.ndarray | None = None
    trace: list[IterationRecord] | None = None

    @property
    def reconstruction(self) -> np.ndarray:
        """B + T (+ N), (H, W) float32."""
        total = self.background + self.target
        return total if self.noise is None else total + self.noise


def as_grey(image: np.ndarray) -> np.ndarray:
    """Brings an image to the scale the classical methods were written for.

    Args:
        image: (H, W) grey values: uint8; uint16, whose own range is stretched as by
            :func:`drpca.datasets.io.to_unit`; or float in [0, 1].

    Returns:
        (H, W) float64 in [0, 255].

    Raises:
        UserError: Not a two-dimensional array of these types, empty, or with NaN, infinite or out-of-range
            values.
    """
    if not isinstance(image, np.ndarray) or image.ndim != 2:
        came = f'shape {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
        raise UserError(f'Expected a grey image as an array of shape (H, W), got {came}.')
    if image.size == 0:
        raise UserError(f'Expected an image with pixels, got an empty one of shape {image.shape}.')
    if image.dtype == np.uint8:
        return image.astype(np.float64)
    if image.dtype == np.uint16:
        return to_unit(image).astype(np.float64) * 255
    if not np.issubdtype(image.dtype, np.floating):
        raise UserError(f'Expected uint8, uint16 or float in [0, 1] as grey values, got {image.dtype}.')
    if not np.isfinite(image).all():
        raise UserError('The image holds NaN or infinite values; replace them before detection.')
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise UserError(f'Expected float grey values in [0, 1], got {low:g} to {high:g}; scale them first.')
    return image.astype(np.float64) * 255


class Baseline:
    """A detector without training.

    Subclasses list their parameters in ``PRESETS``, the values allowed for texts in ``CHOICES``, the
    integers that must be odd in ``ODD``, and implement :meth:`detect`. Every parameter is an attribute of the
    same name.

    Args:
        preset: 'paper': as the authors of the method describe it, at the image's own size. 'leaderboard': the
            parameters and quirks behind the traditional rows of the DRPCA-Net leaderboard; colour files
            become grey by rounded luma.
        **overrides: Parameters that differ from the preset. ``input_size`` is the (height, width) to which
            the caller brings an image first, or None for its own size.

    Raises:
        UserError: Unknown preset or parameter, or a value of the wrong kind.
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]]
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {}
    ODD: ClassVar[tuple[str, ...]] = ()
    min_size: int = 1
    input_size: tuple[int, int] | None

    def __init__(self, preset: str = 'leaderboard', **overrides: Any) -> None:
        if preset not in self.PRESETS:
            raise unknown_name(f'preset of {type(self).__name__}', str(preset), list(self.PRESETS))
        self.preset = preset
        for name, value in {**self.PRESETS[preset], **overrides}.items():
            if name not in self.PRESETS[preset]:
                raise unknown_name(f'parameter of {type(self).__name__}', name, list(self.PRESETS[preset]))
            setattr(self, name, self._checked(name, value))

    def _checked(self, name: str, value: Any) -> Any:
        """The value of a parameter, if it is of the same kind as the preset's."""
        default = self.PRESETS[self.preset][name]
        if name == 'input_size':
            ok = value is None or (
                isinstance(value, tuple | list) and len(value) == 2 and all(is_positive_int(n) for n in value)
            )
            expected = '(height, width) or None'
            value = tuple(value) if ok and value is not None else value
        elif name in self.CHOICES:
            ok, expected = value in self.CHOICES[name], ' or '.join(map(repr, self.CHOICES[name]))
        elif isinstance(default, bool):
            ok, expected = isinstance(value, bool), 'True or False'
        elif isinstance(default, str):
            ok, expected = isinstance(value, str), 'a text'
        elif isinstance(default, tuple):
            ok = isinstance(value, tuple | list) and len(value) > 0 and all(is_positive_int(n) for n in value)
            expected, value = 'positive integers', tuple(value) if ok else value
        elif isinstance(default, int):
            ok, expected = is_positive_int(value), 'a positive integer'
        else:
            ok = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float('inf')
            expected = 'a positive number'
        if ok and name in self.ODD:
            ok, expected = all(n % 2 == 1 for n in np.atleast_1d(value)), f'{expected}, odd,'
        if not ok:
            raise UserError(f'{type(self).__name__}: expected {expected} for {name}, got {value!r}.')
        return value

    @property
    def grey(self) -> GreyRule:
        """How colour files are to be read for this preset; see :func:`drpca.datasets.io.read_image`."""
        return 'luma' if self.preset == 'leaderboard' else 'opencv'

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters in use, by name."""
        return {name: getattr(self, name) for name in self.PRESETS[self.preset]}

    def __repr__(self) -> str:
        values = ', '.join(f'{name}={value!r}' for name, value in self.parameters.items())
        return f'{type(self).__name__}(preset={self.preset!r}, {values})'

    def detect(self, frame: np.ndarray) -> np.ndarray:
        """The method itself.

        Args:
            frame: (H, W) float64 in [0, 255], not constant.

        Returns:
            (H, W) raw target map; negative values mean 'no target'.
        """
        raise NotImplementedError

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Raw target map at the size of the image that comes; nothing is resized here.

        Args:
            image: (H, W): uint8; uint16, stretched to its own range; or float in [0, 1]. Bring it to
                ``input_size`` first, or call :meth:`prepare`.

        Returns:
            (H, W) float32, at least 0, on the method's own scale. All zeros for a constant image.

        Raises:
            UserError: As :func:`as_grey`; or the image is smaller than the method's patch.
        """
        frame = self._frame(image)
        if frame.min() == frame.max():
            return np.zeros(frame.shape, np.float32)
        return np.maximum(self.detect(frame), 0).astype(np.float32)

    def _frame(self, image: np.ndarray) -> np.ndarray:
        frame = as_grey(image)
        self._check_size(frame.shape)
        return frame

    def _check_size(self, shape: tuple[int, ...]) -> None:
        if min(shape) < self.min_size:
            raise UserError(
                f'{type(self).__name__} needs an image of at least {self.min_size}x{self.min_size} pixels, '
                f'got {shape[0]}x{shape[1]}; enlarge it or choose a smaller patch_size.'
            )

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The image at ``input_size``, resized as the published loaders do, or unchanged if that is None.

        Args:
            image: (H, W) uint8, uint16 or float in [0, 1].
        """
        if self.input_size is None:
            return image
        if isinstance(image, np.ndarray) and np.issubdtype(image.dtype, np.floating):
            image = image.astype(np.float32)
        return resize_image(image, self.input_size)

    def scores(self, image: np.ndarray) -> np.ndarray:
        """:meth:`predict` divided by its maximum.

        Returns:
            (H, W) float32 in [0, 1]; an all-zero map stays zero. Brightness of the strongest response is
            lost: a map without any target reaches 1 as well.
        """
        raw = self.predict(image)
        high = raw.max()
        return raw / high if high > 0 else raw

    def decompose(self, image: np.ndarray, trace: bool = False) -> Decomposition:
        """Background, target and noise; only methods that model them have this.

        Raises:
            UserError: The method is a filter.
        """
        raise UserError(
            f'{type(self).__name__} is a filter and has no decomposition into background and target; '
            'use IPI, PSTNN, LogTFNN, NRAM, NOLC or NIPPS.'
        )


def is_positive_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
