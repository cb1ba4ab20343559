"""IoU on a split beside speed, for every form and precision that a network runs in here.

All forms run in turn on every image of the split, so that a busy or throttled machine slows all of them alike: the
figure to compare is the median over the images of (time of the plain forward / time of the form). The figures of
detection are those of ``inference.py`` followed by ``cal_from_mask.py``. A network of windows runs on those of its
sequences, and every frame that they report on is scored once. Exported files are written to a temporary
folder; INT8 ones are calibrated on images of the training split.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from drpca.config import evaluation_data
from drpca.datasets import SequenceDataset
from drpca.datasets.io import resize_image, unit
from drpca.datasets.sequence_dataset import SYNTHETIC
from drpca.datasets.splits import Split, spread
from drpca.deploy.fastest import RUNTIMES
from drpca.deploy.optimise import can_fuse
from drpca.deploy.processor import Machine, machine
from drpca.deploy.variants import (
    FORMS,
    VARIANTS,
    check_variant,
    export_variant,
    open_variant,
    variant_file,
    variant_function,
)
from drpca.errors import UserError, counted
from drpca.evaluation.metrics import Evaluator
from drpca.evaluation.protocols import choose_protocols
from drpca.inference.detector import Detector
from drpca.inference.export import open_windows, split_images
from drpca.inference.mappers import NetworkMapper, build_model
from drpca.json_file import plain
from drpca.models.detector import DetectionModel
from drpca.options import BASELINE, RECIPE
from drpca.reports.plain_tables import markdown_table, text_table
from drpca.results.scoring import Case
from drpca.version import versions

CALIBRATION = 32
_NAMES = {
    BASELINE: 'PyTorch, plain', 'winograd': 'PyTorch, Winograd', 'torch-export': 'torch.export', 'tensorrt': 'TensorRT'
}  # fmt: skip
_HEADER = ('runtime', 'precision', 'IoU %', 'nIoU %', 'Pd %', 'Fa 1e-6', 'largest error', 'ms', '× eager', 'file MB')
_CPU = torch.device('cpu')


@dataclass(frozen=True)
class FormFigures:
    """One form of a network on the images of a split.

    Attributes:
        variant: A name of ``drpca.options.VARIANTS``.
        runtime: What computes it: ``'OpenVINO'``.
        precision: ``'fp32'``, ``'bf16'`` or ``'int8'``.
        iou: Ratio, under the first preset; NaN where the form does not run, as of the next.
        niou: Likewise.
        pd: Detected targets / targets.
        fa: False-alarm pixels / pixels.
        max_error: Largest difference of the logits from the plain forward's.
        ms: Median time of an image, or of a window.
        speedup: Median over the images of (time of the plain forward / time of this form).
        megabytes: Of its file, NaN where it has none.
        fault: Why it does not run here, '' if it does.
    """

    variant: str
    runtime: str
    precision: str
    iou: float = math.nan
    niou: float = math.nan
    pd: float = math.nan
    fa: float = math.nan
    max_error: float = math.nan
    ms: float = math.nan
    speedup: float = math.nan
    megabytes: float = math.nan
    fault: str = ''


@dataclass(frozen=True)
class FormComparison:
    """What was measured, of what, and where.

    Attributes:
        of: Network, weights, images, size and preset, as a line.
        machine: Where, and what else it did.
        forms: The plain forward first.
    """

    of: str
    machine: Machine
    forms: list[FormFigures]

    def markdown(self) -> str:
        """A table, with what it is of and where it was measured below."""
        return f'{markdown_table(_HEADER, self._cells())}\n\n{self._about}\n'

    def text(self) -> str:
        """The same for a console."""
        faults = [
            f'{form.runtime} {form.precision} does not run here: {form.fault}.' for form in self.forms if form.fault
        ]
        return '\n'.join([text_table(_HEADER, self._cells(), left=2), *faults, '', self._about, ''])

    @property
    def _about(self) -> str:
        return f'{self.of}. {self.machine}; all forms in turn on every image.'

    def _cells(self) -> list[list[str]]:
        rows = []
        for form in self.forms:
            row = [
                f'{100 * form.iou:.2f}', f'{100 * form.niou:.2f}', f'{100 * form.pd:.2f}', f'{1e6 * form.fa:.2f}',
                f'{form.max_error:.1e}', f'{form.ms:.1f}', f'{form.speedup:.2f}',
                '' if math.isnan(form.megabytes) else f'{form.megabytes:.1f}',
            ]  # fmt: skip
            rows.append([form.runtime, form.precision, *(row if not form.fault else ['–'] * len(row))])
        return rows

    def json(self) -> str:
        """All figures as the text of a JSON file; null where there is none."""
        forms = [asdict(form) for form in self.forms]
        content = {'of': self.of, 'machine': asdict(self.machine), 'versions': versions(), 'forms': forms}
        return json.dumps(plain(content), indent=1) + '\n'


def benchmark_backends(
    config: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    variants: Sequence[str] | None = None,
    dataset: str | None = None,
    split: str = 'test',
    data_root: str | Path | None = None,
    limit: int | None = None,
    size: int | str = RECIPE,
    threads: int | None = None,
    protocol: str = 'basicirstd',
) -> FormComparison:
    """Runs every form of a network on the images of a split, on the CPU.

    Args:
        config: See :class:`drpca.Detector`, as of the weights, ``size`` and ``threads``.
        checkpoint: Weights.
        variants: Some of ``drpca.options.VARIANTS``; None: every precision of PyTorch and of the runtimes. One that
            does not run here is in the table with its reason.
        dataset: Data set; None: the config's.
        split: Which of its images.
        data_root: Folder of the data sets.
        limit: Only so many images, evenly spread.
        protocol: Preset of the figures.

    Raises:
        UserError: As :class:`drpca.Detector`; no network; no such images.
    """
    here = machine()
    detector = Detector(config, checkpoint, size=size, threads=threads, dataset=dataset, data_root=data_root)
    mapper = detector.mapper
    if not isinstance(mapper, NetworkMapper) or detector.checkpoint is None:
        raise UserError(f'{detector.name} has one form only: name the config of a network, with its weights.')
    model = build_model(detector.config, detector.checkpoint)
    examples = _examples(detector, mapper, split)
    chosen = spread(range(len(examples)), limit)
    scored: set[str] = set()
    (preset,) = choose_protocols(protocol)
    order = list(dict.fromkeys([BASELINE, *(variants or FORMS)]))
    errors = dict.fromkeys(order, 0.0)
    seconds: dict[str, list[float]] = {name: [] for name in order}
    evaluators = {name: Evaluator([preset]) for name in order}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        functions, faults, megabytes = _open_forms(detector, model, order, Path(temporary))
        stack.enter_context(torch.inference_mode())
        for index, place in enumerate(chosen):
            window, frames = examples.read(place)
            batch = torch.from_numpy(np.ascontiguousarray(window, np.float32))[None]
            plain: Tensor | None = None
            for form, function in functions.items():
                if not index:
                    function(batch)
                started = time.perf_counter()
                logits = function(batch)
                seconds[form].append(time.perf_counter() - started)
                plain = logits if plain is None else plain
                errors[form] = max(errors[form], float((logits - plain).abs().max()))
                for (name, gt_mask), map_logits in zip(frames, logits[0]):
                    if name not in scored:
                        case = Case(name, expit(map_logits.numpy()), gt_mask)
                        evaluators[form].update(*case.at(preset.size), name=name)
            scored |= {name for name, _ in frames}
    forms = []
    for form in order:
        runtime = _NAMES.get(form) or RUNTIMES[VARIANTS[form].get('backend', 'torch')]
        precision = 'int8' if VARIANTS[form].get('int8') else VARIANTS[form].get('precision', 'fp32')
        if form in faults:
            forms.append(FormFigures(form, runtime, precision, fault=faults[form]))
            continue
        figures = evaluators[form].compute()[preset.name]
        ratios = [plain / own for plain, own in zip(seconds[BASELINE], seconds[form])]
        forms.append(
            FormFigures(
                form, runtime, precision, figures['IoU'], figures['nIoU'], figures['Pd'], figures['Fa'], errors[form],
                1e3 * statistics.median(seconds[form]), statistics.median(ratios), megabytes.get(form, math.nan),
            )
        )  # fmt: skip
    side = "the frames' own size" if detector.size is None else f'{detector.size} pixels'
    count = counted(len(examples), examples.noun)
    count = f'{len(chosen)} of {count}' if len(chosen) < len(examples) else count
    of = (
        f'{detector.method}, weights {detector.checkpoint.name}; {examples.dataset} {split}, '
        f'{count} at {side}; preset {preset.name}'
    )
    return FormComparison(of, Machine(**{**asdict(here), 'threads': torch.get_num_threads()}), forms)


class _Images:
    """What a network of single frames sees of a split."""

    noun = 'image'

    def __init__(self, mapper: NetworkMapper, images: Split) -> None:
        self.mapper, self.images, self.dataset = mapper, images, images.dataset

    def __len__(self) -> int:
        return len(self.images)

    def read(self, place: int) -> tuple[np.ndarray, list[tuple[str, np.ndarray]]]:
        """(1, H, W) float32 in [0, 1], and the names and masks, (H, W) bool, of its maps."""
        name = self.images.names[place]
        image = self.mapper.prepare(self.mapper.values.level(self.images.read_image(name, self.mapper.grey), name))
        return image[None], [(name, self.images.read_mask(name))]


class _Windows:
    """What a network of windows sees of its sequences."""

    noun = 'window'

    def __init__(self, mapper: NetworkMapper, windows: SequenceDataset) -> None:
        self.mapper, self.windows, self.dataset = mapper, windows, windows.dataset

    def __len__(self) -> int:
        return len(self.windows)

    def read(self, place: int) -> tuple[np.ndarray, list[tuple[str, np.ndarray]]]:
        """Likewise (n, H, W)."""
        number, window = self.windows.windows[place]
        sample = self.windows[place]
        names = [f'{self.windows.names[number]}/{frame:06d}' for frame in window.reported]
        frames, side = sample['image'].numpy(), self.mapper.frame_size
        if side is not None:
            frames = np.stack([unit(resize_image(frame, side)) for frame in frames])
        return frames, list(zip(names, sample['gt_mask'].numpy() > 0))


def _examples(detector: Detector, mapper: NetworkMapper, split: str) -> _Images | _Windows:
    source = evaluation_data(detector.config)
    if mapper.frames == 1 or source.get('type') != 'SequenceDataset':
        return _Images(mapper, detector.open_split(split))
    named = {**source, 'dataset': detector.dataset or source.get('dataset', SYNTHETIC)}
    return _Windows(mapper, open_windows(named, split, None, detector.data_root))


def _open_forms(
    detector: Detector, model: DetectionModel, order: Sequence[str], folder: Path
) -> tuple[dict[str, Callable[[Tensor], Tensor]], dict[str, str], dict[str, float]]:
    """Functions of the forms that run here, why others do not, and the size of files in MB."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {}
    faults: dict[str, str] = {}
    megabytes: dict[str, float] = {}
    side = detector.size if isinstance(detector.size, int) else 256
    for name in order:
        options = VARIANTS[name]
        try:
            check_variant(name, _CPU)
            if options.get('precision') == 'bf16' and not can_fuse(torch.bfloat16):
                raise UserError('this processor has no bfloat16 instructions')
            if 'backend' not in options:
                functions[name] = variant_function(model, name, _CPU, folder)
                continue
            ranges = None
            if options.get('int8') and not variant_file(folder, name).exists():
                size = detector.size if isinstance(detector.size, int) else None
                ranges = split_images(detector.config, 'train', CALIBRATION, size, detector.data_root)[0]
            export_variant(model, name, side, folder, ranges)
            backend = open_variant(name, folder)
            functions[name] = lambda image, backend=backend: torch.from_numpy(backend.logits(image.numpy()))  # type: ignore[misc]
            megabytes[name] = variant_file(folder, name).stat().st_size / 1e6
        except UserError as error:
            faults[name] = str(error).rstrip('.')
    return functions, faults, megabytes
