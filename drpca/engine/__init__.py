"""Training: runner, loop, hooks, checkpoints."""

from drpca.checkpoint import load_weights, read_checkpoint
from drpca.datasets.device_loader import DeviceLoader
from drpca.engine.faults import TrainingDiverged, TrainingFailed
from drpca.engine.hooks.log import TrainingLogHook
from drpca.engine.hooks.loss_epoch import LossEpochHook
from drpca.engine.hooks.pictures import DecompositionGridHook
from drpca.engine.hooks.seed import SeedHook
from drpca.engine.hooks.selection import SelectionHook
from drpca.engine.loop import ResumableTrainLoop
from drpca.engine.optimisation import ExponentialMovingAverage, MomentumAnnealingEMA, OptimWrapper
from drpca.engine.train import DetectionRunner, train

__all__ = [
    'DecompositionGridHook',
    'DetectionRunner',
    'DeviceLoader',
    'ExponentialMovingAverage',
    'LossEpochHook',
    'MomentumAnnealingEMA',
    'OptimWrapper',
    'ResumableTrainLoop',
    'SeedHook',
    'SelectionHook',
    'TrainingDiverged',
    'TrainingFailed',
    'TrainingLogHook',
    'load_weights',
    'read_checkpoint',
    'train',
]
