"""What all loss terms share: weight, choice of outputs, masks at the outputs' resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from drpca.errors import UserError
from drpca.losses.weights import ChangingWeight
from drpca.models.detector import Outputs
from drpca.registry import MODELS


def pool_mask(gt_mask: Tensor, output: Tensor) -> Tensor:
    """The mask at an output's resolution: a pixel is target where any pixel that it covers is.

    Equal to max-pooling by 2ᵏ where the output has 1/2ᵏ of the mask's height and width.

    Args:
        gt_mask: (B, 1, H, W) in {0, 1}.
        output: (B, 1, h, w) with h ≤ H and w ≤ W.
    """
    size = output.shape[-2:]
    return gt_mask if gt_mask.shape[-2:] == size else F.adaptive_max_pool2d(gt_mask, size)


class Loss(nn.Module):
    """Base of all terms.

    A term computes in float32 at least: sums over 65,536 pixels need it.

    Args:
        weight: Factor of the term: a number, or the config of one that changes
            (:class:`~drpca.losses.weights.ScheduledWeight`, :class:`~drpca.losses.weights.LearnedWeight`).
        on: The output it acts on, or several of them. Beside the outputs of the network there are ``'stages'``,
            the target logits after every stage (deep supervision), and ``'background'``, B after the last
            stage; see :class:`drpca.models.detector.DetectionModel`.
        over: What becomes of the values of several outputs: their ``'mean'`` or their ``'sum'``.

    Raises:
        UserError: ``over`` or ``weight`` is something else, or ``on`` is empty.
    """

    def __init__(
        self,
        weight: float | dict[str, Any] = 1.0,
        on: str | Sequence[str] = 'target',
        over: Literal['mean', 'sum'] = 'mean',
    ) -> None:
        super().__init__()
        if over not in ('mean', 'sum'):
            raise UserError(f"over: expected 'mean' or 'sum', got {over!r}.")
        if isinstance(weight, bool) or not isinstance(weight, (int, float, dict)):
            raise UserError(f'{type(self).__name__}: expected a number or dict(type=…) as weight, got {weight!r}.')
        self.weight: ChangingWeight | float = MODELS.build(weight) if isinstance(weight, dict) else weight
        self.on = (on,) if isinstance(on, str) else tuple(on)
        if not self.on:
            raise UserError('on: expected the name of at least one output, got none.')
        self.over = over

    @property
    def inputs(self) -> set[str]:
        """Names of all outputs it ever acts on."""
        return set(self.on)

    def set_epoch(self, epoch: int, last_epoch: int | None = None) -> None:
        """Say which epoch, counted from 0, begins, and which one is the last (``LossEpochHook`` does)."""
        if isinstance(self.weight, ChangingWeight):
            self.weight.set_epoch(epoch, last_epoch)

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        """The term of one output, without its weight.

        Args:
            output: (B, 1, h, w), float32 or float64.
            image: (B, 1, H, W) in [0, 1].
            gt_mask: (B, 1, h, w) in {0, 1}, at the output's resolution.
        """
        raise NotImplementedError

    def forward(self, outputs: Outputs, image: Tensor, gt_mask: Tensor) -> Tensor:
        """Weighted mean or sum over the chosen outputs, a scalar.

        Raises:
            UserError: The network has no output of that name.
        """
        return self.weighted(self.combine(self.on, outputs, image, gt_mask))

    def weighted(self, term: Tensor) -> Tensor:
        """The term times its weight."""
        return self.weight(term) if isinstance(self.weight, ChangingWeight) else self.weight * term

    def changing_weight(self) -> Tensor | None:
        """The weight now, without gradient; None where it is one number for ever."""
        return self.weight.current() if isinstance(self.weight, ChangingWeight) else None

    def combine(self, names: Sequence[str], outputs: Outputs, image: Tensor, gt_mask: Tensor) -> Tensor:
        """Mean or sum of :meth:`value` over outputs."""
        unknown = [name for name in names if name not in outputs]
        if unknown:
            raise UserError(
                f'{type(self).__name__} acts on {", ".join(unknown)}, but the network returns '
                f'{", ".join(outputs)}: correct `on` in the config of the loss.'
            )
        chosen = [outputs[name] for name in names]
        values = [
            self.value(output.to(image.dtype), image, pool_mask(gt_mask, output))
            for several in chosen
            for output in ([several] if isinstance(several, Tensor) else several)
        ]
        total = sum(values[1:], start=values[0])
        return total / len(values) if self.over == 'mean' else total
