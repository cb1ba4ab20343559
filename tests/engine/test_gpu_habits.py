"""What a GPU would be kept waiting by, or compile badly, as far as the processor shows it.

Reading a value back makes the processor wait for the GPU. Here everything runs on the processor, and what would
read back, or check its input, is counted. Compilation is watched with a compiler that does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from drpca.config import find_config, load_config
from drpca.datasets import InfraredDataset, SeededSampler, device_transforms
from drpca.datasets.device_loader import DeviceLoader
from drpca.engine.faults import TrainingDiverged
from drpca.engine.hooks import selection
from drpca.engine.hooks.seed import SeedHook
from drpca.engine.hooks.selection import SelectionHook
from drpca.engine.optimisation import OptimWrapper
from drpca.engine.precision import resolve_precision
from drpca.engine.train import DetectionRunner, build_runner
from drpca.registry import MODELS
from drpca.studies import training_speed as speed

# Operations whose result, or whose size, the processor has to know.
READING = (
    '_local_scalar_dense', 'is_nonzero', 'equal.default', 'nonzero', 'masked_select', 'unique', 'bincount',
)  # fmt: skip
# Those of the library that check their input or call solvers which wait.
SOLVING = ('_linalg_svd', '_linalg_eigh', 'linalg_inv', 'linalg_lu', '_linalg_det', '_linalg_solve')


class Waits(TorchDispatchMode):
    """Counts what would make the processor wait if the tensors were on a GPU.

    Attributes:
        seen: What was done, by the names of operations.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        masked = name.startswith('aten.index.') and any(
            isinstance(place, Tensor) and place.dtype == torch.bool for place in tree_leaves(args[1])
        )
        if masked or any(part in name for part in READING + SOLVING):
            self.seen.append(name)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(
    'read',
    [lambda x: x.item(), lambda x: bool(x > 0), lambda x: (x[None] > 0).nonzero(), lambda x: x[None][x[None] > 0]],
    ids=['item', 'bool', 'nonzero', 'mask'],
)  # fmt: skip
def test_what_waits_is_seen(read: Callable[[Tensor], Any]) -> None:
    with Waits() as waits:
        read(torch.tensor(1.0))
    assert len(waits.seen) >= 1
    with Waits() as waits:
        torch.where(torch.tensor(1.0) > 0, 2.0, 3.0)
    assert waits.seen == []


def loader(data_root: Path, pipeline: list[Any], split: str = 'train', size: int | None = 48) -> Any:
    dataset = InfraredDataset('synthetic', split, data_root, size, pipeline=pipeline)
    sampler = SeededSampler(dataset, shuffle=True, seed=3)
    config = {'dataset': dataset, 'sampler': sampler, 'collate_fn': {'type': 'default_collate'}}
    return Runner.build_dataloader({**config, 'batch_size': 4, 'num_workers': 0})


CROP = {'type': 'RandomCrop', 'size': 32, 'target_prob': 0.5}
PIPELINES: dict[str, list[dict[str, Any]]] = {
    'published': [],
    'all': [
        {'type': 'TargetCopyPaste', 'prob': 0.5, 'other': True},
        {'type': 'ScaleJitter', 'low': 0.75, 'high': 1.33},
        {'type': 'RotationJitter', 'degrees': 10.0},
        CROP,
        *({'type': kind} for kind in ('RandomFlip', 'RandomTranspose', 'GainJitter', 'NoiseJitter')),
    ],
    'copy-paste': [{'type': 'TargetCopyPaste', 'other': False}],
    'scale': [{'type': 'ScaleJitter'}, CROP],
    'rotation': [{'type': 'RotationJitter'}],
    'crop': [{**CROP, 'size': (60, 20), 'pad': 'zero'}],
    'symmetries': [{'type': kind} for kind in ('RandomFlip', 'RandomTranspose', 'RandomRotate90')],
    'jitter': [{'type': 'GainJitter'}, {'type': 'NoiseJitter'}],
    'blur': [{'type': 'GaussianBlur'}],
    'long side': [{'type': 'RandomLongSide', 'low': 40, 'high': 60}, CROP],
}


@pytest.mark.parametrize('name', PIPELINES)
def test_batches_wait_for_nothing(data_root: Path, name: str) -> None:
    batches = DeviceLoader(loader(data_root, PIPELINES[name]), 'cpu')
    with Waits() as waits:
        index = torch.arange(4)
        for number in range(2):
            batch = batches.batch(index, number)
    assert waits.seen == []
    assert batch['image'].shape == batch['gt_mask'].shape
    assert batch['image'].dtype == batch['gt_mask'].dtype == torch.float32


def test_a_transform_that_reads_back_is_caught(data_root: Path) -> None:
    class Brighten:
        def __call__(self, sample: Any) -> Any:
            return sample

    def brighten(transform: Any, batch: device_transforms.DeviceBatch) -> None:
        batch.image = batch.image / batch.image.max().item()

    device_transforms.augment.register(Brighten)(brighten)
    batches = DeviceLoader(loader(data_root, [Brighten()]), 'cpu')
    with Waits() as waits:
        batches.batch(torch.arange(4), 0)
    assert waits.seen == ['aten._local_scalar_dense.default']


def model_of(config: str, **options: Any) -> Any:
    settings = load_config(find_config(config)).model
    if settings.network.type in ('RPCANet', 'RPCANetPlus', 'DRPCANet'):
        settings.network.num_stages = 2
    torch.manual_seed(0)
    return MODELS.build({**settings, 'channels_last': True, 'precision': 'bfloat16', **options}).train()


def a_batch(count: int = 2, device: Any = 'cpu') -> dict[str, Any]:
    image = torch.rand(count, 1, 32, 32, device=device)
    gt_mask = (torch.rand(count, 1, 32, 32, device=device) > 0.95).float()
    return {'image': image, 'gt_mask': gt_mask, 'name': [f'image_{number}' for number in range(count)]}


# Config → what waits in its losses.
LOSSES: dict[str, list[str]] = {
    # With a scheduled L1 (lrrnet), edges (isnet), location and other outputs in the warm-up (mshnet), focal ones.
    **{f'{name}_sirstv1_best': [] for name in ('rpcanet', 'rpcanet_plus', 'drpcanet', 'lrrnet')},
    **{name: [] for name in ('deep_supervision', 'learned_weights', 'scheduled_weights', 'sls_iou')},
    **{f'{name}_sirstv1': [] for name in ('drpcanet', 'isnet', 'mshnet', 'mtunet', 'rdian')},
    'acm_sirstv1_lesps': [],
    'low_rank': ['_linalg_svd'],  # a solver; the loss says so
}


@pytest.mark.parametrize('config', LOSSES)
def test_losses_wait_for_nothing(config: str) -> None:
    model = model_of(config)
    batch = a_batch()
    for epoch in (0, 9):  # warm and not
        for term in model.losses.values():
            term.set_epoch(epoch, 10)
        with Waits() as waits:
            model.parse_losses(model(**batch, mode='loss'))
        assert len(waits.seen) == len(LOSSES[config]), waits.seen
        assert all(part in name for part, name in zip(LOSSES[config], waits.seen))


@pytest.mark.parametrize(
    'config', ['rpcanet_sirstv1_best', 'lrrnet_sirstv1_best', 'deep_supervision', 'learned_weights', 'sls_iou']
)
def test_a_step_reads_nothing_back(config: str) -> None:
    """Backward pass included: on the processor, for a fake one has none."""
    model = model_of(config)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    wrapper = OptimWrapper(adam, clip_grad={'max_norm': 1.0})
    before = next(model.parameters()).detach().clone()
    with Waits() as waits:
        model.train_step(a_batch(), wrapper)
    assert waits.seen == []
    assert not torch.equal(before, next(model.parameters()))
    with Waits() as waits:
        wrapper.optimizer.param_groups[0]['fused'] = False  # its step count is read, here on the processor
        model.train_step(a_batch(), wrapper)
    assert waits.seen


class Enough(Exception):
    """Ends what is watched."""


def test_checkpoints_to_resume_from_are_read_onto_the_processor() -> None:
    runner: Any = DetectionRunner.__new__(DetectionRunner)
    with (
        mock.patch('mmengine.runner.runner.get_device', return_value='cuda'),
        mock.patch.object(DetectionRunner, 'load_checkpoint', side_effect=Enough) as load,
        pytest.raises(Enough),
    ):
        runner.resume('last.pth')
    assert load.call_args.kwargs['map_location'] == 'cpu'


def test_saving_reads_one_number_of_all_weights(tmp_path: Path) -> None:
    model = model_of('rpcanet_sirstv1')
    runner = mock.MagicMock(model=model, epoch=1, iter=7, seed=0, work_dir=str(tmp_path))
    with mock.patch.object(selection, 'save_checkpoint') as save, Waits() as waits:
        SelectionHook()._save(runner, 'last.pth')
    assert save.called
    assert len(waits.seen) == 1
    next(reversed(list(model.parameters()))).data[0] = float('inf')
    with pytest.raises(TrainingDiverged, match='no numbers any more after epoch 1'):
        SelectionHook()._save(runner, 'last.pth')


def test_what_is_logged_is_no_memory_of_others() -> None:
    """A replayed CUDA graph overwrites its outputs, and a scheduled weight changes in place: neither may be kept."""
    model = model_of('scheduled_weights')
    outputs: list[Tensor] = []
    model.network.register_forward_hook(lambda module, inputs, result: outputs.extend(result))
    losses = model(**a_batch(), mode='loss')
    _, logs = model.parse_losses(losses)
    buffers = [*model.state_dict().values(), *model.buffers()]
    kept = {value.untyped_storage().data_ptr() for value in (*outputs, *buffers)}
    assert len(outputs) == 2
    for name, value in logs.items():
        assert value.untyped_storage().data_ptr() not in kept, name
    assert losses['weight_l1'].untyped_storage().data_ptr() in kept, 'this one would change'


@pytest.mark.parametrize('gpu', [False, True])
def test_batches_are_copied_while_the_processor_goes_on(data_root: Path, gpu: bool) -> None:
    """Also without ``--fast``: from pinned memory, where a copy waits for nothing."""
    dataset = InfraredDataset('synthetic', 'train', data_root, 32)
    config = {'dataset': dataset, 'sampler': SeededSampler(dataset, seed=0), 'batch_size': 4, 'num_workers': 0}
    with mock.patch('torch.cuda.is_available', return_value=gpu):
        batches = DetectionRunner.build_dataloader(config, seed=0)
    assert batches.pin_memory == gpu
    image = mock.Mock(spec=Tensor)
    model_of('rpcanet_sirstv1').data_preprocessor({'image': image})
    assert image.to.call_args.kwargs == {'non_blocking': True}


def test_random_numbers_of_the_own_gpu_are_saved_and_restored() -> None:
    """A run that saw two GPUs goes on where there is one."""
    hook, other, checkpoint = SeedHook(), SeedHook(), {}
    state = torch.arange(16, dtype=torch.uint8)
    runner: Any = SimpleNamespace()
    with (
        mock.patch('torch.cuda.is_available', return_value=True),
        mock.patch('torch.cuda.get_rng_state', return_value=state) as read,
        mock.patch('torch.cuda.set_rng_state') as write,
    ):
        hook.before_save_checkpoint(runner, checkpoint)
        other.after_load_checkpoint(runner, checkpoint)
        other.before_train_iter(runner, batch_idx=3)
        other.before_train_iter(runner, batch_idx=4)
    read.assert_called_once_with()
    write.assert_called_once()
    assert torch.equal(write.call_args.args[0], state)
    assert write.call_args.args[1:] == ()


def test_a_precision_set_around_the_network_reaches_it() -> None:
    """``--amp fp16`` leaves the model's own precision at float32 and sets the type around it."""
    model = model_of('rpcanet_sirstv1', precision='float32')
    types: set[torch.dtype] = set()
    for module in model.network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: types.add(output.dtype))
    batch = a_batch()
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(**batch, mode='loss')
    assert types == {torch.bfloat16}
    assert {value.dtype for value in losses.values()} == {torch.float32}
    types.clear()
    model(**batch, mode='loss')
    assert types == {torch.float32}


@pytest.mark.parametrize(('capability', 'precision'), [((7, 5), 'float32'), ((8, 0), 'bfloat16')])
def test_fast_uses_bfloat16_where_the_gpu_has_it(capability: tuple[int, int], precision: str) -> None:
    with (
        mock.patch('torch.cuda.is_available', return_value=True),
        mock.patch('torch.cuda.get_device_capability', return_value=capability),
    ):
        config = load_config(find_config('rpcanet_sirstv1'), fast='cuda')
        resolve_precision(config, asked_for=False, device='cuda')
    assert config.model.get('precision', 'float32') == precision
    assert config.model.compiled


class Compiler:
    """Compiles nothing; notes for each program made whether it takes batches of any size, and which ones run."""

    def __init__(self) -> None:
        self.made: list[bool] = []
        self.ran: list[int] = []

    def __call__(self, graph: Any, inputs: list[Any]) -> Callable[..., Any]:
        number = len(self.made)
        self.made.append(any(isinstance(value, torch.SymInt) for value in inputs))

        def program(*values: Any) -> Any:
            self.ran.append(number)
            return graph.forward(*values)

        return program


@pytest.fixture
def compiler() -> Iterator[Compiler]:
    torch.compiler.reset()
    yield Compiler()
    torch.compiler.reset()


@pytest.mark.parametrize(
    'config', ['rpcanet_sirstv1', pytest.param('deep_supervision', marks=pytest.mark.slow)]
)  # the latter decomposes
def test_a_smaller_last_batch_has_a_program_of_its_own(compiler: Compiler, config: str) -> None:
    model = model_of(config)
    model.compile_network(backend=compiler)
    for count in (3, 3, 2, 3, 2, 3):
        model(**a_batch(count), mode='loss')
    assert compiler.made == [False, False], 'one for batches of any size is slower'
    assert compiler.ran == [0, 0, 1, 0, 1, 0]


def test_validation_runs_what_was_compiled(compiler: Compiler) -> None:
    model = model_of('rpcanet_sirstv1').eval()
    model.network.decos = model.network.decos[:1]
    images = a_batch(3)
    with torch.no_grad():
        expected = model(**images, mode='predict')
        model.compile_network(backend=compiler)
        found = [model(**images, mode='predict') for _ in range(2)][1]
    assert compiler.ran == [0, 0]
    for one, other in zip(expected, found):
        torch.testing.assert_close(one['scores'], other['scores'])


def test_every_run_that_compiles_begins_without_programs_of_others() -> None:
    plain = {'launcher': 'none', 'work_dir': 'x', 'model': {}}
    for options, expected in (({}, 0), ({'model': {'compiled': True}}, 1), ({'cuda_graphs': True}, 1)):
        with (
            mock.patch.object(DetectionRunner, 'from_cfg', side_effect=Enough),
            mock.patch('torch.compiler.reset') as reset,
            pytest.raises(Enough),
        ):
            build_runner(Config({**plain, **options}))
        assert reset.call_count == expected


@pytest.mark.slow
def test_every_network_of_the_benchmark_is_compiled(compiler: Compiler) -> None:
    """Eight programs are the most that PyTorch makes of one piece of code, and three networks share theirs."""

    class Trains:
        def __init__(self, network: str, way: Any, data: Any) -> None:
            self.way = way
            self.compiler = Compiler()
            self.model = model_of(f'{network}_sirstv1')
            self.model.network.decos = self.model.network.decos[:1]
            self.model.compile_network(backend=self.compiler)

        def seconds(self, steps: int) -> float:
            for count in (2, 3):
                self.model(**a_batch(count), mode='loss')
            return 1.0

        def memory(self) -> float:
            return 1.0

        def validation_seconds(self) -> float:
            assert self.compiler.ran == [0, 1, 0, 1]
            return 1.0

    data: Any = SimpleNamespace(batch=2)
    with mock.patch.object(speed, 'Trainer', Trains):
        for network in ('rpcanet', 'rpcanet_plus', 'drpcanet'):
            speed.measure(network, [speed.Way('a'), speed.Way('b')], data, steps=1, repetitions=1)


@pytest.mark.parametrize('deterministic', [False, True])
def test_deterministic_runs_allow_matrix_products(monkeypatch: pytest.MonkeyPatch, deterministic: bool) -> None:
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    randomness = {'seed': 0, 'deterministic': deterministic}
    with mock.patch.object(DetectionRunner, 'from_cfg', side_effect=Enough), pytest.raises(Enough):
        build_runner(Config({'launcher': 'none', 'work_dir': 'x', 'randomness': randomness}))
    assert ('CUBLAS_WORKSPACE_CONFIG' in os.environ) == deterministic
