"""One training run: from a config to ``best.pth``, ``last.pth``, ``log.jsonl`` and ``summary.json``."""

from __future__ import annotations

import gc
import json
import logging
import os
import time
import warnings
from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier, is_distributed, is_main_process
from mmengine.hooks import EMAHook
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch.utils.data import Subset

from drpca.checkpoint import load_weights, read_checkpoint, read_training_state
from drpca.config import building, explain_build_error
from drpca.config_text import read_config
from drpca.datasets.dataset import part_of
from drpca.datasets.device_loader import DeviceLoader
from drpca.engine import optimisation  # noqa: F401 - registers the averages of weights
from drpca.engine.faults import TrainingFailed, can_checkpoint, describe, explain_out_of_memory
from drpca.engine.leaks import leak_warnings
from drpca.engine.loop import begin_loading
from drpca.engine.processes import take_part
from drpca.errors import UserError
from drpca.files import in_use, save_text
from drpca.models.detector import bare_model
from drpca.registry import DATASETS, RUNNERS
from drpca.run_folder import BEST, LOG, SUMMARY, RunFolder

# A change in one of these makes a resumed run another experiment.
_IDENTITY = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler')

# Those that something holds on to; see _free.
_runners: WeakSet[DetectionRunner] = WeakSet()


@RUNNERS.register_module()
class DetectionRunner(Runner):
    """MMEngine's Runner, loading checkpoints strictly, and images from the device where a loader says so."""

    @staticmethod
    def build_dataloader(dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> Any:
        """A loader whose config has ``on_device=True`` becomes a :class:`DeviceLoader`; ``images`` is the ``limit`` of
        any data set.

        Iterators over a loader draw a seed when they start their processes. They draw it from a generator of the
        loader's own: from torch's, dropout would depend on how often processes are started.
        """
        if not isinstance(dataloader, dict):
            return dataloader
        options = dict(dataloader)
        on_device, images = options.pop('on_device', False), options.pop('images', None)
        if images is not None:
            options['dataset'] = limited(options['dataset'], images)
        options.setdefault('collate_fn', {'type': 'default_collate'})
        if on_device:
            options.update(num_workers=0, persistent_workers=False)
        else:
            options.setdefault('pin_memory', torch.cuda.is_available())
        loader = Runner.build_dataloader(options, seed, diff_rank_seed)
        loader.generator = torch.Generator().manual_seed(seed or 0)
        loader.worker_init_fn = partial(begin_loading, then=loader.worker_init_fn)
        return DeviceLoader(loader, get_device()) if on_device else loader

    def close(self) -> None:
        """Lets go of a run that is over.

        Its loader processes would wait for the garbage collector to find the circles between runner, loops and hooks,
        and MMEngine's registers and open files would stay for good.
        """
        self.visualizer.close()
        for handler in self.logger.handlers:
            handler.close()
        for kind in (MMLogger, MessageHub, Visualizer):
            kind._instance_dict.pop(self.experiment_name, None)
        self.__dict__.clear()

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """MMEngine asks compilers for their versions and formats the config, whoever reads it."""
        if any(handler.level <= logging.INFO for handler in self.logger.handlers):
            super()._log_env(env_cfg)

    def load_checkpoint(self, filename: str, map_location: Any = 'cpu', strict: bool = True, **options: Any) -> Any:
        """Reads a checkpoint as :func:`drpca.engine.processes.take_part` has it for this process."""
        checkpoint = take_part(read_checkpoint(filename, map_location))
        try:
            self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
            bare_model(self.model).load_state_dict(checkpoint['state_dict'], strict)
        except RuntimeError as error:
            lines = ' '.join(str(error).split())
            raise UserError(
                f'{filename} does not fit the model of this config, expected a checkpoint of the same '
                f'architecture: {lines[:300]}'
            ) from None
        self._has_loaded = True
        return checkpoint

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = 'cpu',
    ) -> None:
        """MMEngine reads onto the GPU, and the optimiser's step counts would stay there, to be read in every step."""
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)


def limited(source: dict[str, Any], images: float) -> Any:
    """A data set, built, with ``limit`` as of :class:`drpca.datasets.InfraredDataset`, whatever its type.

    One that has a ``limit`` itself reads no more than that.
    """
    if source['type'] in ('InfraredDataset', 'SequenceDataset') and source.get('limit') is None:
        return DATASETS.build({**source, 'limit': images})
    dataset = DATASETS.build(source)
    return Subset(dataset, part_of(range(len(dataset)), images))


# What each launcher calls the number of a process and the number of all, and what starts it.
_LAUNCHED = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'torchrun'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'srun'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'mpirun'),
}


def _init_distributed(config: Config) -> None:
    """MMEngine starts GPU processes itself; without a GPU the processes talk through gloo."""
    if config.launcher == 'none':
        return
    rank, count, launcher = _LAUNCHED[config.launcher]
    if rank not in os.environ:
        raise UserError(
            f'--launcher {config.launcher} expects to be started by {launcher} (docs/cluster.md); use --launcher none '
            'otherwise.'
        )
    if torch.cuda.is_available():
        return
    if not is_distributed():
        if not {'MASTER_ADDR', 'MASTER_PORT'} <= os.environ.keys():
            raise UserError('The processes cannot find each other: set MASTER_ADDR and MASTER_PORT (docs/cluster.md).')
        torch.distributed.init_process_group('gloo', rank=int(os.environ[rank]), world_size=int(os.environ[count]))
    config.setdefault('model_wrapper_cfg', {'type': 'MMDistributedDataParallel', 'broadcast_buffers': False})
    config.model_wrapper_cfg.device_ids = None
    config.model_wrapper_cfg.find_unused_parameters = config.get('find_unused_parameters', False)


def build_runner(config: Config) -> DetectionRunner:
    """Build the runner; what the config gets wrong comes back as one line.

    Raises:
        UserError: Unknown type or argument, a value of the wrong kind, missing data, ….
    """
    _init_distributed(config)
    if config.get('sync_bn') and not torch.cuda.is_available():
        raise UserError('sync_bn needs GPUs: leave it out.')
    if (config.get('model') or {}).get('compiled') or config.get('cuda_graphs'):
        # Programs of earlier runs hold memory, and after eight of them networks of a class would run uncompiled.
        torch.compiler.reset()
    if (config.get('randomness') or {}).get('deterministic'):
        # Without it, matrix products on a GPU raise an error.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    config.setdefault('experiment_name', f'{Path(config.work_dir).name}_{time.time_ns()}')
    with building():
        runner = DetectionRunner.from_cfg(config)
        _runners.add(runner)
        # Built now, so that a wrong path or argument shows before anything is written over.
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        if runner.param_schedulers is not None:
            runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    if len(runner.train_dataloader) == 0:
        raise UserError(
            f'The {len(runner.train_dataloader.dataset)} training images do not fill one batch of '
            f'{config.train_dataloader.batch_size}, and this config drops incomplete ones: lower --batch-size.'
        )
    for loader in (runner.train_dataloader, config.get('val_dataloader') and runner.val_dataloader):
        if loader:
            _check_sample(loader.dataset)
    _save_memory_and_time(runner)
    return runner


def _check_sample(dataset: Any) -> None:
    """Raises UserError unless a data set of one's own gives what a model is trained with."""
    whole = dataset.dataset if isinstance(dataset, Subset) else dataset
    if getattr(whole, 'takes_seeds', False):
        return
    sample: Any = dataset[0]
    parts = sample if isinstance(sample, dict) else {}
    image, gt_mask = (torch.as_tensor(parts.get(key, 0)) for key in ('image', 'gt_mask'))
    if image.dtype != torch.float32 or image.ndim != 3 or len(image) != 1 or image.shape != gt_mask.shape:
        got = ', '.join(f'{key} {getattr(value, "shape", value)}' for key, value in parts.items())
        raise UserError(
            f'{type(dataset).__name__}[0] gave {got or type(sample).__name__}: expected a dict with image, float32 '
            '(1, H, W) in [0, 1], and gt_mask, (1, H, W) of 0 and 1; name is optional.'
        )


def _save_memory_and_time(runner: DetectionRunner) -> None:
    """The options of a config that change neither the model nor its gradients."""
    config, network = runner.cfg, bare_model(runner.model).network
    if config.get('cuda_graphs'):
        if not torch.cuda.is_available():
            raise UserError('cuda_graphs=True needs a GPU; leave it out, or use --compile.')
        if config.optim_wrapper.get('accumulative_counts', 1) > 1:
            raise UserError('cuda_graphs=True does not go with --accumulate: a graph reuses its gradients.')
        bare_model(runner.model).compile_network(mode='reduce-overhead')
    if config.get('checkpoint_stages'):
        if not can_checkpoint(network):
            compiled = network._compiled_call_impl is not None
            reason = 'is compiled and plans its memory itself' if compiled else 'has no stages to run again'
            raise UserError(
                f'--checkpoint-stages: {type(network).__name__} {reason}. To save memory use a smaller --batch-size '
                'with --accumulate.'
            )
        network.checkpoint_stages = True


def _quieten() -> None:
    warnings.filterwarnings('ignore', message='.*weights_only.*')
    warnings.filterwarnings('ignore', message='.*lr_scheduler.step.*')
    logging.getLogger('matplotlib').setLevel(logging.WARNING)


def _check_work_dir(config: Config, resume: bool) -> Path | None:
    """The checkpoint to resume from; refuses to write over a run that is there."""
    folder = RunFolder(Path(config.work_dir))
    if not resume:
        if folder.files():
            raise UserError(
                f'{config.work_dir} already holds a run ({", ".join(folder.files())}). Continue it with --resume, or '
                'choose another --work-dir.'
            )
        return None
    if folder.last.exists():
        return folder.last
    # Of a run that was killed before it could save: it begins again.
    (folder.path / LOG).unlink(missing_ok=True)
    return None


def _check_same_experiment(config: Config, checkpoint: dict[str, Any], path: Path) -> None:
    saved = read_config(checkpoint['meta']['cfg'], path)
    changed = [
        key
        for key in _IDENTITY
        if json.dumps(saved.get(key), sort_keys=True, default=str)
        != json.dumps(config.get(key), sort_keys=True, default=str)
    ]
    if 'param_scheduler' in changed:
        epochs = (saved.get('train_cfg') or {}).get('max_epochs')
        raise UserError(
            f'{path} was written with other learning rate schedules (param_scheduler), for {epochs} epochs, not '
            f'{config.train_cfg.max_epochs}; the old ones would go on. Give '
            'the same --epochs and options, or begin a new run from these weights: another --work-dir, and --load-from.'
        )
    for key in changed:
        logging.getLogger(__name__).warning(
            '%s was written with another %r than this run has; what follows is a different experiment.', path, key
        )


def train(config: Config, resume: bool = False) -> dict[str, Any]:
    """Train as the config says and score the test split once with the resulting weights.

    These are selected on the validation split, or, with ``selection='final'`` in the config, the (averaged)
    weights after the last epoch.

    Args:
        config: With ``work_dir`` and ``randomness.seed`` set.
        resume: Go on from ``last.pth`` in the work directory, where there is one.

    Returns:
        Summary: the attributes of :class:`drpca.engine.runs.TrainingResult` but ``folder``.

    Raises:
        UserError: Bad config, data or checkpoint; a work directory that is taken, or in use by another process.
        TrainingFailed: The run could not go on: memory or disk full, a file gone, a loader process dead.
        TrainingDiverged: The loss became NaN or infinite.
        Interrupted: Stopped by Ctrl-C, SIGTERM or SIGUSR1 after saving.
    """
    _quieten()
    _free()  # what failed before
    with in_use(config.work_dir) if _is_first_process(config) else nullcontext():
        summary = _train(config, resume)
    _free()
    return summary


def _free() -> None:
    """Finds what holds on to runners that are closed: frames in which modules were imported, for the most part."""
    if _runners:
        gc.collect()


def _is_first_process(config: Config) -> bool:
    """Also before the processes of a launched training know each other."""
    rank, *_ = _LAUNCHED.get(config.get('launcher', 'none'), ('',))
    return os.environ.get(rank, '0') == '0'


def _train(config: Config, resume: bool) -> dict[str, Any]:
    folder = RunFolder(Path(config.work_dir))
    resume_from = _check_work_dir(config, resume)
    initial_weights, config.load_from = config.get('load_from'), None
    if resume_from is not None:
        _check_same_experiment(config, read_training_state(resume_from), resume_from)
        config.load_from, config.resume = str(resume_from), True
    with closing(build_runner(config)) as runner:
        if is_main_process():
            for line in leak_warnings(config, getattr(runner.train_dataloader.dataset, 'source', None)):
                runner.logger.warning(line)
        if initial_weights and resume_from is None:
            load_weights(bare_model(runner.model).network, initial_weights)
        _run(runner, runner.train)

        barrier()  # the main process has written its files
        result = folder.weights or folder.last
        selection = read_checkpoint(result)['meta']['selection']
        summary: dict[str, Any] = {
            'config': Path(config.filename or '').stem,
            'seed': runner.seed,
            'epochs': runner.epoch,
            'selection': 'val' if result.name == BEST else 'final',
            'best_epoch': selection['best_epoch'],
            'best': selection['best'],
            'parameters': sum(value.numel() for value in bare_model(runner.model).network.parameters()),
            'seconds': round(sum(line['seconds'] for line in folder.log()), 1),
            'checkpoint': str(result),
            'test': None,
        }
        if config.get('test_dataloader') is not None:
            load_weights(bare_model(runner.model).network, result)
            runner._has_loaded = True
            # The resulting weights are averaged ones already; the hook would swap in those of the last epoch.
            runner._hooks = [hook for hook in runner.hooks if not isinstance(hook, EMAHook)]
            summary['test'] = {key: float(value) for key, value in _run(runner, runner.test).items()}
        if is_main_process():
            save_text(folder.path / SUMMARY, json.dumps(summary, indent=1) + '\n', overwrite=True)
    return summary


def _run(runner: DetectionRunner, function: Callable[[], Any]) -> Any:
    """Call ``runner.train`` or ``runner.test``; what goes wrong on the way comes back as one line.

    Raises:
        UserError: Bad input that showed before the first iteration was done.
        TrainingFailed: Anything else that is known to happen.
    """
    try:
        return function()
    except (TypeError, KeyError) as error:
        raise explain_build_error(error) or error from None
    except torch.cuda.OutOfMemoryError:
        cause = None  # found out below: the exception holds on to the memory
    except (UserError, RuntimeError, OSError) as error:
        cause = describe(error)
        if cause is None:
            raise
        if isinstance(error, UserError) and runner.iter == 0:
            raise type(error)(cause) from None
    cause = explain_out_of_memory(runner) if cause is None else cause
    last = RunFolder(Path(runner.work_dir)).last
    saved = f'The last checkpoint, {last}, is intact.' if last.exists() else 'Nothing had been saved yet.'
    raise TrainingFailed(f'{cause} {saved}')
