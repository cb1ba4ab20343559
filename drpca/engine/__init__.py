"""Training: runner, loop, hooks, checkpoints."""

from drpca.engine.checkpoint import load_weights, read_checkpoint
from drpca.engine.hooks import DecompositionGridHook, SeedHook, SelectionHook, TrainingLogHook
from drpca.engine.loop import ResumableTrainLoop
from drpca.engine.loss_hooks import LossEpochHook
from drpca.engine.train import DetectionRunner, train

__all__ = [
    'DecompositionGridHook',
    'DetectionRunner',
    'LossEpochHook',
    'ResumableTrainLoop',
    'SeedHook',
    'SelectionHook',
    'TrainingLogHook',
    'load_weights',
    'read_checkpoint',
    'train',
]
