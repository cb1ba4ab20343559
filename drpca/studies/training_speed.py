"""Images per second and memory of training, as published and here.

'as published' is what the published training scripts do: eager float32 NCHW, the PNG decoded and resized in
the main process at every step, the losses read back at every step, a validation pass over single images every
100 iterations. All ways run the same network, losses and Adam, in turn in the same process, so that a busy or
throttled machine slows them alike; the ratio is the median of the ratios within repetitions.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from torch import Tensor

from drpca.config import config_for, default_models, load_config
from drpca.datasets import InfraredDataset, SeededSampler
from drpca.datasets.device_loader import DeviceLoader
from drpca.datasets.synthetic import generate_dataset
from drpca.deploy.processor import machine
from drpca.engine.optimisation import OptimWrapper
from drpca.errors import UserError
from drpca.evaluation.metrics import TargetMetric
from drpca.registry import MODELS
from drpca.reports.plain_tables import markdown_table, text_table

SIRST_TRAIN, SIRST_VAL, EPOCHS, BATCH = 341, 86, 400, 8  # the published recipe on SIRST V1
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Way:
    """One way to train.

    Attributes:
        name: What tables call it.
        on_device: Images decoded once and kept on the device, losses not read back; otherwise as published.
        model: Options of the detector.
        fused: Fused Adam.
        graphs: CUDA graphs, on top of compilation.
    """

    name: str
    on_device: bool = True
    model: dict[str, Any] = field(default_factory=dict)
    fused: bool = False
    graphs: bool = False


AS_PUBLISHED = Way('as published', on_device=False)


def levers(device: torch.device) -> list[Way]:
    """What is added to the published way, one thing after another; the last has them all."""
    nhwc = {'channels_last': True}
    bfloat16 = {**nhwc, 'precision': 'bfloat16'}
    ways = [
        Way('+ data on the device'),
        Way('+ NHWC', model=nhwc),
        Way('+ bfloat16', model=bfloat16),
        Way('+ fused Adam', model=bfloat16, fused=True),
    ]
    if device.type == 'cuda':
        compiled = {**bfloat16, 'compiled': True}
        ways += [
            Way('+ torch.compile', model=compiled, fused=True),
            Way('+ CUDA graphs', model=compiled, fused=True, graphs=True),
        ]
    return ways


@dataclass(frozen=True)
class Data:
    """Where images come from and how large they are."""

    dataset: str
    root: str | None
    size: int
    batch: int
    device: torch.device

    def loader(self, split: str, batch: int, on_device: bool) -> Any:
        source = InfraredDataset(self.dataset, split, self.root, self.size, cache=on_device)
        config = {
            'dataset': source,
            'sampler': SeededSampler(source, shuffle=split != 'test', seed=0, round_up=split != 'test'),
            'collate_fn': {'type': 'default_collate'},
            'batch_size': batch,
            'num_workers': 0,
            'drop_last': split != 'test',
        }
        loader = Runner.build_dataloader(config)
        return DeviceLoader(loader, self.device) if on_device else loader


class Trainer:
    """A network in training."""

    def __init__(self, network: str, way: Way, data: Data, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        self.way, self.data, self.dtype = way, data, dtype
        self._others = self._allocated()
        config = load_config(config_for(network, 'sirstv1'))
        self.model = MODELS.build({**config.model, **way.model}).to(data.device, dtype).train()
        if way.graphs:
            self.model.compile_network(mode='reduce-overhead')
        adam = torch.optim.Adam(self.model.parameters(), lr=1e-4, fused=way.fused or None)
        self._wrapper = OptimWrapper(adam)
        self._loader = data.loader('trainval', data.batch, way.on_device)
        if len(self._loader) == 0:
            raise UserError(f'{data.dataset} has fewer training images than one batch of {data.batch}.')
        self._batches = self._endless()

    def _endless(self) -> Iterator[dict[str, Any]]:
        epoch = 0
        while True:
            self._loader.sampler.set_epoch(epoch)
            for batch in self._loader:
                yield batch | {key: batch[key].to(self.dtype) for key in ('image', 'gt_mask')}
            epoch += 1

    def _allocated(self) -> int:
        return torch.cuda.memory_allocated(self.data.device) if self.data.device.type == 'cuda' else 0

    def step(self) -> Tensor:
        """One step of the optimiser; returns the loss."""
        logs = self.model.train_step(next(self._batches), self._wrapper)
        if not self.way.on_device:
            for value in logs.values():
                value.item()
        return logs['loss'].detach()

    def seconds(self, steps: int) -> float:
        """Time of so many steps."""
        torch.backends.cudnn.benchmark = self.way.on_device
        self._wait()
        started = time.perf_counter()
        for _ in range(steps):
            self.step()
        self._wait()
        return time.perf_counter() - started

    def memory(self) -> float:
        """MB of a step: largest allocation on a GPU, what is kept for the backward pass on a CPU."""
        if self.data.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.data.device)
            self.step()
            return (torch.cuda.max_memory_allocated(self.data.device) - self._others) / 2**20
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        batch = self.model.data_preprocessor(next(self._batches), True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            losses = self.model(**batch, mode='loss')
        del losses
        return sum(kept.values()) / 2**20

    @torch.no_grad()
    def validation_seconds(self) -> float:
        """Time to score an image, metric and all."""
        self.model.eval()
        loader = self.data.loader('test', 32 if self.way.on_device else 1, self.way.on_device)
        for _ in range(2):  # the first warms up
            metric = TargetMetric(['basicirstd'])
            self._wait()
            started = time.perf_counter()
            for batch in loader:
                metric.process(None, self.model.val_step(batch))
            seconds = (time.perf_counter() - started) / len(loader.dataset)
        self.model.train()
        return seconds

    def _wait(self) -> None:
        if self.data.device.type == 'cuda':
            torch.cuda.synchronize(self.data.device)


@dataclass(frozen=True)
class WaySpeed:
    """One way to train one network.

    Attributes:
        network: Folder of its configs.
        way: Name of the way.
        images_per_s: Median over the repetitions.
        ratio: To 'as published', median of the ratios within repetitions.
        memory_mb: See :meth:`Trainer.memory`.
        warm_up_s: The first steps, compilation included.
        validation_ms: Per image, metric included.
        minutes: 400 epochs of SIRST V1 with validation: every 100 iterations as published, every 5 epochs here.
    """

    network: str
    way: str
    images_per_s: float
    ratio: float
    memory_mb: float
    warm_up_s: float
    validation_ms: float
    minutes: float


def measure(network: str, ways: Sequence[Way], data: Data, steps: int, repetitions: int) -> list[WaySpeed]:
    """Train in all ways in turn; the first is what the others are compared with."""
    torch.compiler.reset()  # after eight programs of all networks together, the next would run uncompiled
    trainers, warm_up, memory = [], [], []
    for way in ways:
        trainer = Trainer(network, way, data)
        warm_up.append(trainer.seconds(3))
        memory.append(trainer.memory())
        trainers.append(trainer)
    rounds = [[trainer.seconds(steps) for trainer in trainers] for _ in range(repetitions)]
    seconds = np.array(rounds)
    results = []
    for index, trainer in enumerate(trainers):
        rate = steps * data.batch / float(np.median(seconds[:, index]))
        validation = trainer.validation_seconds()
        passes = EPOCHS // 5 if trainer.way.on_device else EPOCHS * SIRST_TRAIN // BATCH // 100
        total = EPOCHS * SIRST_TRAIN / rate + passes * SIRST_VAL * validation + warm_up[index]
        results.append(
            WaySpeed(
                network=network,
                way=trainer.way.name,
                images_per_s=rate,
                ratio=float(np.median(seconds[:, 0] / seconds[:, index])),
                memory_mb=memory[index],
                warm_up_s=warm_up[index],
                validation_ms=1e3 * validation,
                minutes=total / 60,
            )
        )
    return results


@contextmanager
def _no_tf32() -> Iterator[None]:
    """Products in full float32; those in TF32 depend on the memory order."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def difference(network: str, ours: Way, data: Data) -> float:
    """Largest relative difference of losses, as published and ours without bfloat16 and dropout.

    Compared are the first loss in float32 and the first three in float64. After one step of Adam, losses in
    float32 show rounding more than anything else: its first step is as large for a gradient that is zero but
    for rounding (a bias in front of BatchNorm) as for any other.
    """
    data = replace(data, size=min(data.size, 64), batch=min(data.batch, 2))  # float64 is slow
    exact = Way(ours.name, True, {**ours.model, 'precision': 'float32'}, ours.fused, ours.graphs)
    largest = 0.0
    with _no_tf32():
        for dtype, steps in ((torch.float32, 1), (torch.float64, 3)):
            losses = []
            for way in (AS_PUBLISHED, exact):
                trainer = Trainer(network, way, data, dtype)
                for module in trainer.model.modules():
                    if isinstance(module, torch.nn.Dropout):
                        module.p = 0.0  # its mask depends on the memory order
                losses.append([float(trainer.step()) for _ in range(steps)])
            first, second = np.array(losses)
            largest = max(largest, float(np.abs(second / first - 1).max()))
    return largest


@dataclass(frozen=True)
class TrainingSpeed:
    """What :func:`benchmark_training` found.

    Attributes:
        device: Where it ran.
        where: The same in words.
        size: Side of the images.
        batch: Images per step.
        results: One per network and way.
        differences: By network: largest relative difference of the first losses to those of the published way,
            without bfloat16.
    """

    device: torch.device
    where: str
    size: int
    batch: int
    results: list[WaySpeed]
    differences: dict[str, float]

    @property
    def same(self) -> bool:
        """Whether the losses are those of the published way."""
        return max(self.differences.values()) <= TOLERANCE

    def as_markdown(self) -> str:
        """A heading and the table, one row per result."""
        return f'{self._heading}\n\n{markdown_table(*self._cells(), left=2)}'

    def as_text(self) -> str:
        """The same as aligned text."""
        return f'{self._heading}\n{text_table(*self._cells(), left=2)}'

    @property
    def _heading(self) -> str:
        return f'{self.where}, torch {torch.__version__}, {self.batch} × {self.size}²'

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        memory = 'peak MB' if self.device.type == 'cuda' else 'MB kept for the backward pass'
        header = ['network', 'way', 'images/s', '× published', memory, 'validation ms/image', 'SIRST V1, 400 epochs']
        return header, [
            [r.network, r.way, f'{r.images_per_s:.1f}', f'{r.ratio:.2f}', f'{r.memory_mb:.0f}',
             f'{r.validation_ms:.1f}', f'{r.minutes:.1f} min']
            for r in self.results
        ]  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            'device': self.where,
            'torch': torch.__version__,
            'size': self.size,
            'batch': self.batch,
            'results': [asdict(result) for result in self.results],
            'difference_without_bfloat16': self.differences,
        }


def benchmark_training(
    networks: Sequence[str] | None = None,
    *,
    each_lever: bool = False,
    graphs: bool = False,
    device: str | None = None,
    threads: int | None = None,
    size: int | None = None,
    batch: int | None = None,
    steps: int | None = None,
    repetitions: int = 5,
    dataset: str | None = None,
    data_root: str | None = None,
) -> TrainingSpeed:
    """Times training as published (eager float32 NCHW, PNG decoded at every step) and as here (fast settings).

    Args:
        networks: Models, as in run_configs.py; None: those of configs/_base_/default_models.py.
        each_lever: Add what makes it fast one by one, instead of all at once.
        graphs: With CUDA graphs (GPU).
        device: ``'cpu'``, ``'cuda'``, …; None: a GPU where there is one.
        threads: CPU threads; None leaves PyTorch's setting.
        size: Side of the images; None: 256, on a CPU 128.
        batch: Images per step; None: 8, on a CPU 4.
        steps: Steps per repetition; None: 40, on a CPU 2.
        repetitions: How often each way is timed.
        dataset: Data set; None: a synthetic one in a temporary folder.
        data_root: Folder of the data sets, with ``dataset``.

    Raises:
        UserError: No such device, a number out of range, unknown models, or too few images.
    """
    try:
        where = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    except RuntimeError:
        raise UserError(f'--device {device}: expected cpu, cuda or cuda:N.') from None
    gpu = where.type == 'cuda'
    if gpu and not torch.cuda.is_available():
        raise UserError(f'--device {device}: no GPU here.')
    if graphs and not gpu:
        raise UserError('--graphs needs a GPU.')
    size, batch, steps = (size or (256 if gpu else 128), batch or (8 if gpu else 4), steps or (40 if gpu else 2))
    if min(size, batch, steps, repetitions) < 1:
        raise UserError('--size, --batch, --steps and --repetitions must be at least 1.')
    if threads is not None:
        if threads < 1:
            raise UserError(f'--threads must be at least 1, got {threads}.')
        torch.set_num_threads(threads)
    words = torch.cuda.get_device_name(where) if gpu else str(machine())
    added = [way for way in levers(where) if graphs or not way.graphs]
    ways = [AS_PUBLISHED, *(added if each_lever else [replace(added[-1], name='here (--fast)')])]
    results: list[WaySpeed] = []
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        if dataset is None:
            generate_dataset(folder, num_train=max(3 * batch, 24), num_test=8, size=256)
        data = Data(dataset or 'synthetic', data_root if dataset else folder, size, batch, where)
        for network in networks or default_models('compare'):
            results += measure(network, ways, data, steps, repetitions)
            gc.collect()
            differences[network] = difference(network, added[-1], data)
    return TrainingSpeed(where, words, size, batch, results, differences)
