"""Training: runner, loop, hooks, checkpoints."""

from drpca.engine.checkpoint import load_weights, read_checkpoint
from drpca.engine.device_data import DeviceLoader
from drpca.engine.faults import TrainingDiverged, TrainingFailed
from drpca.engine.hooks import SeedHook, SelectionHook, TrainingLogHook
from drpca.engine.loop import ResumableTrainLoop
from drpca.engine.loss_hooks import LossEpochHook
from drpca.engine.optimisation import ExponentialMovingAverage, MomentumAnnealingEMA, OptimWrapper
from drpca.engine.picture_hook import DecompositionGridHook
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
