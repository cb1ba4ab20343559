"""The trainable detector: a network, its input rules and its losses, in MMEngine's three modes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel, is_model_wrapper
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.errors import UserError, unknown_name
from drpca.registry import MODELS

from .initialisation import initialise_weights
from .layers import Float32Conv2d, arrange
from .unfolding import ABSENT, StageState

Outputs = Mapping[str, Tensor | Sequence[Tensor]]
"""Output names of a network → tensors (B, 1, h, w), or a list of them."""

# What a network need not say of itself; see DetectionModel.
DEFAULTS: dict[str, Any] = {
    'in_channels': 1,
    'size_multiple': 1,
    'pad_mode': 'constant',
    'min_size': 1,
    'reflect_multiple': 1,
    'frames': 1,
    'reported': (0,),
}


def named_outputs(network: Any, returned: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
    """What a network returned, by the names of its ``outputs``.

    A network without ``outputs`` returns the target logits, or the reconstruction and the target logits.

    Raises:
        UserError: It returned something else than that.
    """
    values = [returned] if isinstance(returned, Tensor) else list(returned or ())
    unnamed = ('target',) if len(values) == 1 else ('reconstruction', 'target')
    names = getattr(network, 'outputs', unnamed)
    if len(names) != len(values) or 'target' not in names or not all(isinstance(v, Tensor) for v in values):
        raise UserError(
            f'{type(network).__name__} returned {len(values)} outputs: expected {" and ".join(names)} as tensors. Give '
            "the class `outputs`, the names of what it returns in order, one of them 'target'."
        )
    return dict(zip(names, values))


def _build_loss(name: str, config: dict[str, Any]) -> Any:
    """A term: any module that takes (outputs, image, gt_mask)."""
    term = MODELS.build(config)
    try:
        inspect.signature(term.forward).bind({}, None, None)
    except (AttributeError, TypeError):
        raise UserError(
            f'losses.{name}: {config["type"]} is not called as loss(outputs, image, gt_mask): write a module whose '
            "forward takes these three, outputs['target'] being the logits (B, 1, H, W)."
        ) from None
    return term


def unused_parameter_names(network: nn.Module) -> set[str]:
    """State dict names (parameters and buffers) that match the network's ``unused_parameters``."""
    patterns = getattr(network, 'unused_parameters', ())
    return {name for name in network.state_dict() if any(fnmatchcase(name, pattern) for pattern in patterns)}


def receptive_radius(model: DetectionModel) -> int | None:
    """Pixels around one on which its logit depends, alike everywhere; None: all of the image, or unknown."""
    if model.scale_to_max or math.lcm(model.network.size_multiple, model.pad_multiple) > 1:
        return None
    return getattr(model.network, 'receptive_radius', None)


def bare_model(model: nn.Module) -> Any:
    """The model without what distributes its training over processes."""
    return model.module if is_model_wrapper(model) else model


@MODELS.register_module()
class DetectionModel(BaseModel):
    """A network with losses.

    Whatever the network returns (one map, side outputs, an edge map, a reconstruction), its first business
    is the output ``'target'``, the logits that are scored; losses choose outputs by name.

    A network is any module that takes (B, C, H, W) and returns (B, 1, H, W) target logits. What else there is to say,
    it says in attributes, all of which may be missing: ``outputs``, the names of what it returns
    (:func:`named_outputs`); ``in_channels`` (C, 1); ``size_multiple`` (H and W must be multiples of it, 1) and
    ``min_size`` (1), in programs of torch.export ``program_min_size`` (1); ``reflect_multiple``, to multiples of which
    it pads by reflection itself (1); ``unused_parameters``; ``receptive_radius``, pixels around one on which its logit
    depends, for a network of ``size_multiple`` 1 that does the same everywhere, whose large frames are then cut into
    tiles without any difference; the methods ``detect(image)`` for the target logits alone and ``decompose(image)``.
    Blocks that have a faster form, or one that every export format can express, return it from ``for_inference()`` and
    ``for_export()``; ``batch_norms`` of a block names its convolutions, each with the BatchNorm that alone takes its
    output, to be folded into it.

    A network over several frames takes a window of n of them as channels, (B, n, H, W), oldest first: ``frames`` and
    ``in_channels`` are n, and ``reported`` says which of them its maps are of, (n − 1,) for the last one. There are m
    maps, (B, m, H, W), and so is whatever else it returns. A single image stands for n equal ones. If it looks at each
    frame by itself first, ``embed`` (B, 1, H, W) → features and ``fuse`` (B, n, …) → logits let a stream do it once.

    Modes of ``forward``:
        ``'tensor'``: dict of the network's outputs, each (B, 1, H, W), or a fraction of H and W where the
        network returns side outputs at lower resolution.
        ``'loss'``: dict of weighted loss terms ``loss_<name>``, and of the weights that change,
        ``weight_<name>``, which are logged and not added.
        ``'predict'``: one dict per image: ``name`` (if there are any), ``scores`` (H, W) in [0, 1], ``gt_mask``
        (H, W) bool. Of a window with several reported frames one for each, of the same name.

    Losses may also ask for ``'stages'``, the target logits after each stage, and ``'background'``, B after the
    last stage, of a network that decomposes. Training then goes through :meth:`decompose`; the network's
    outputs are the same, and nothing changes where no loss asks.

    An image goes through these steps before it enters the network, all of them part of the config: division
    by its maximum (``scale_to_max``), (x − mean)/std, repetition to ``in_channels`` channels, zeros at the
    bottom and the right. The outputs are cropped accordingly, and a reconstruction is brought back to image
    units. Parameters that the network declares as never used are frozen.

    Args:
        network: Config of the network.
        losses: Name → config of each term; their sum is minimised. None for inference. A term is any module that is
            called as ``loss(outputs, image, gt_mask)``; the set ``inputs`` names what it acts on where that is
            ``'stages'`` or ``'background'``, and ``set_epoch`` and ``changing_weight`` are called where it has them.
        mean: Subtracted from the image in [0, 1] before it enters the network; one value, or one per channel.
        std: The image is divided by it after that.
        in_channels: The grey image is repeated to so many channels; None: as many as the network takes.
        scale_to_max: Divide each image by its own maximum first.
        pad_multiple: Pad H and W to multiples of this, where the network needs no larger ones.
        initialisation: See :func:`drpca.models.initialisation.initialise_weights`; None: the network's own.
        channels_last: Keep weights and features in NHWC memory order. Faster; the same mathematics.
        compiled: Run the network through ``torch.compile``. MMEngine's own switch compiles the optimiser's step too,
            which left NaN in the weights on a CPU (torch 2.13).
        precision: ``'float32'`` or ``'bfloat16'``: autocast, but for convolutions from and to one channel
            (:class:`drpca.models.layers.Float32Conv2d`). For float16 use MMEngine's ``AmpOptimWrapper``, which scales
            the loss.
    """

    def __init__(
        self,
        network: dict[str, Any] | nn.Module,
        losses: Mapping[str, dict[str, Any]] | None = None,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        in_channels: int | None = None,
        scale_to_max: bool = False,
        pad_multiple: int = 1,
        initialisation: str | None = None,
        channels_last: bool = False,
        precision: str = 'float32',
        compiled: bool = False,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor or {'type': 'BaseDataPreprocessor', 'non_blocking': True}, init_cfg)
        self.network: Any = network if isinstance(network, nn.Module) else MODELS.build(network)
        if initialisation is not None:
            initialise_weights(self.network, initialisation)
        for name in unused_parameter_names(self.network) & dict(self.network.named_parameters()).keys():
            self.network.get_parameter(name).requires_grad_(False)
        for attribute, default in DEFAULTS.items():
            if not hasattr(self.network, attribute):
                setattr(self.network, attribute, default)
        terms = {name: _build_loss(name, term) for name, term in (losses or {}).items()}
        self.losses: Any = nn.ModuleDict(terms)
        self.decomposes = any({'stages', 'background'} & set(getattr(term, 'inputs', ())) for term in terms.values())
        if self.decomposes and not hasattr(self.network, 'decompose'):
            raise UserError(
                f"{type(self.network).__name__} has no decomposition, which a loss on 'stages' or 'background' "
                'needs: use a network that has one, or correct `on` in the config of the loss.'
            )
        self.in_channels = getattr(self.network, 'in_channels', 1) if in_channels is None else in_channels
        self.scale_to_max = scale_to_max
        self.pad_multiple = pad_multiple
        for name in ('in_channels', 'pad_multiple'):
            number = getattr(self, name)
            if not isinstance(number, int) or number < 1:
                raise UserError(f'model.{name}: expected a whole number of at least 1, got {number!r}.')
        if precision not in ('float32', 'bfloat16'):
            raise unknown_name('precision', str(precision), ('float32', 'bfloat16'))
        self.precision = getattr(torch, precision)
        if self.precision is torch.bfloat16:
            for module in self.network.modules():
                if type(module) is nn.Conv2d and 1 in (module.in_channels, module.out_channels):
                    module.__class__ = Float32Conv2d
        self.normalises = any(value != 0 for value in np.ravel(mean)) or any(value != 1 for value in np.ravel(std))
        for name, value in (('mean', mean), ('std', std)):
            tensor = torch.tensor(value, dtype=torch.float32).reshape(-1, 1, 1)
            self.register_buffer(name, tensor, persistent=False)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        arrange(self.network, self.memory_format)
        self._detect: Callable[[Tensor], Tensor] | None = None
        self._stage_states: Callable[[Tensor], list[StageState]] | None = None
        if compiled:
            self.compile_network()

    def compile_network(self, **options: Any) -> None:
        """Run the network through ``torch.compile`` with these options, whichever of its outputs are asked for."""
        self.network.compile(**options)
        if hasattr(self.network, 'detect'):
            self._detect = torch.compile(self.network.detect, **options)
        if self.decomposes:
            self._stage_states = torch.compile(self.network.decompose, **options)

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled functions: in a copy they would run the network that was copied."""
        return {**super().__getstate__(), '_detect': None, '_stage_states': None}

    def _prepare(self, image: Tensor) -> Tensor:
        """Normalised, repeated to the network's channels and padded at the bottom and the right."""
        if self.scale_to_max:
            image = image / image.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1 / 255)
        if self.normalises:
            image = (image - self.mean) / self.std
        if image.shape[1] not in (1, self.in_channels):
            raise UserError(
                f'{type(self.network).__name__} takes windows of {self.in_channels} frames, got {image.shape[1]}: '
                'give the data set `frames`, or the network, the same number.'
            )
        if image.shape[1] != self.in_channels:
            image = image.expand(-1, self.in_channels, -1, -1)
        multiple = math.lcm(self.network.size_multiple, self.pad_multiple)
        height, width = (max(side, self.network.min_size) for side in image.shape[-2:])
        pad = (0, width + -width % multiple - image.shape[-1], 0, height + -height % multiple - image.shape[-2])
        return F.pad(image, pad, mode=self.network.pad_mode) if any(pad) else image

    def apply_to(self, function: Callable[[Tensor], Any], image: Tensor) -> tuple[Tensor, ...]:
        """Call the network, or a part of it, on a prepared image in the configured precision.

        Args:
            function: Takes the image as the network wants it and returns a sequence of (B, C, H', W').
            image: (B, 1, H, W) in [0, 1].

        Returns:
            What it returned, without what belongs to the padding: of an output at 1/n of the resolution,
            the first ⌈H/n⌉ rows and ⌈W/n⌉ columns are kept.
        """
        prepared = self._prepare(image).contiguous(memory_format=self.memory_format)
        if self.network._compiled_call_impl is not None:
            # An epoch's last, smaller batch gets a program of its own. Otherwise all batches would go on with one for
            # batches of any size, which the compiler optimises less.
            torch._dynamo.mark_static(prepared, 0)
        precision: AbstractContextManager[Any] = nullcontext()  # AmpOptimWrapper's float16 stays in force
        if self.precision is not torch.float32:
            precision = torch.autocast(image.device.type, self.precision)
        with precision:
            values = function(prepared)
        (height, width), (rows, columns) = image.shape[-2:], prepared.shape[-2:]
        return tuple(
            value[..., : -(-value.shape[-2] * height // rows), : -(-value.shape[-1] * width // columns)]
            for value in values
        )

    def outputs(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 1, H, W) in [0, 1] → the network's outputs by name, each (B, 1, H, W) or a fraction of it."""
        names: list[str] = []

        def values(prepared: Tensor) -> list[Tensor]:
            named = named_outputs(self.network, self.network(prepared))
            names.extend(named)
            return list(named.values())

        outputs = dict(zip(names, self.apply_to(values, image), strict=True))
        maps = len(self.network.reported)
        if outputs['target'].shape[:-2] != (len(image), maps):
            raise UserError(
                f'{type(self.network).__name__} returned target logits of shape {tuple(outputs["target"].shape)} for '
                f'{len(image)} images: expected (B, {maps}, H, W), one map for each.'
            )
        if 'reconstruction' in outputs:
            outputs['reconstruction'] = self._in_image_units(outputs['reconstruction'])
        return outputs

    def _in_image_units(self, reconstruction: Tensor) -> Tensor:
        return reconstruction * self.std + self.mean if self.normalises else reconstruction

    def decompose(self, image: Tensor) -> list[StageState]:
        """The decomposition after every stage; only for a network that has ``decompose``.

        Args:
            image: (B, 1, H, W) in [0, 1].

        Returns:
            Variables of (B, 1, H, W); the reconstruction is in image units, as in :meth:`outputs`.
        """
        present: list[list[bool]] = []

        def variables(prepared: Tensor) -> list[Tensor]:
            states = (self._stage_states or self.network.decompose)(prepared)
            present.extend([value is not ABSENT for value in state] for state in states)
            return [value for state in states for value in state if value is not ABSENT]

        values = iter(self.apply_to(variables, image))
        states = [StageState(*(next(values) if there else ABSENT for there in state)) for state in present]
        return [state._replace(reconstruction=self._in_image_units(state.reconstruction)) for state in states]

    def _supervised(self, image: Tensor) -> Outputs:
        """What the losses act on."""
        if not self.decomposes:
            return self.outputs(image)
        states = self.decompose(image)
        last = states[-1]
        return {
            'reconstruction': last.reconstruction,
            'target': last.target,
            'background': last.background,
            'stages': [state.target for state in states],
        }

    def detect(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) in [0, 1] → target logits (B, 1, H, W), float32, without unneeded outputs; or of windows."""
        if not hasattr(self.network, 'detect'):
            return self.outputs(image)['target'].float()
        (logits,) = self.apply_to(lambda prepared: ((self._detect or self.network.detect)(prepared),), image)
        return logits.float()

    def detect_window(self, window: Tensor, keys: Sequence[int], memory: dict[int, Tensor]) -> Tensor:
        """As :meth:`detect` of one window, by a network that says ``embed`` and ``fuse``: each frame is looked at once.

        Args:
            window: (1, n, H, W) in [0, 1].
            keys: What tells its frames from others.
            memory: Key → features of frames; those of this window are in it afterwards, and no others.
        """

        def logits(prepared: Tensor) -> tuple[Tensor]:
            known = {key: memory[key] for key in keys if key in memory}
            for place, key in enumerate(keys):
                if key not in known:
                    known[key] = self.network.embed(prepared[:, place : place + 1])
            memory.clear()
            memory.update(known)
            return (self.network.fuse(torch.stack([known[key] for key in keys], dim=1)),)

        return self.apply_to(logits, window)[0].float()

    def forward(  # type: ignore[override]
        self,
        image: Tensor,
        gt_mask: Tensor | None = None,
        name: Sequence[str] = (),
        mode: str = 'tensor',
        **unused: Any,
    ) -> Any:
        if gt_mask is not None and not gt_mask.is_floating_point():
            gt_mask = gt_mask.to(image.dtype)
        if mode == 'tensor':
            return self.outputs(image)
        if mode == 'loss':
            outputs = self._supervised(image)
            if image.shape[1] > 1:  # a window, of whose frames the network reports on some
                image = image[:, list(self.network.reported)]
            values = {f'loss_{key}': term(outputs, image, gt_mask) for key, term in self.losses.items()}
            # MMEngine adds up everything with 'loss' in its name, so that must not be in these.
            weights = {
                f'weight_{key.replace("loss", "")}': term.changing_weight()
                for key, term in self.losses.items()
                if hasattr(term, 'changing_weight')
            }
            return values | {key: weight for key, weight in weights.items() if weight is not None}
        if mode == 'predict':
            scores = torch.sigmoid(self.detect(image)).flatten(0, 1)
            masks = torch.zeros_like(scores) if gt_mask is None else gt_mask.flatten(0, 1)
            name = [own for own in name for _ in self.network.reported]
            records = [{'scores': map_, 'gt_mask': mask > 0} for map_, mask in zip(scores, masks)]
            return [{**record, 'name': own} for record, own in zip(records, name)] if name else records
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', got {mode!r}")
