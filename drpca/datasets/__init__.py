"""Data sets: reading, splits, transforms, cache, checks and the synthetic generator."""

from drpca.datasets.dataset import InfraredDataset
from drpca.datasets.leaks import Leak, find_leaks
from drpca.datasets.published_transforms import GaussianBlur, RandomLongSide
from drpca.datasets.samplers import SeededSampler
from drpca.datasets.splits import Split, find_datasets, open_split
from drpca.datasets.transforms import (
    GainJitter,
    NoiseJitter,
    RandomCrop,
    RandomFlip,
    RandomRotate90,
    RandomTranspose,
    ScaleJitter,
    TargetCopyPaste,
    TorchvisionTransform,
)

__all__ = [
    'GainJitter',
    'GaussianBlur',
    'InfraredDataset',
    'Leak',
    'NoiseJitter',
    'RandomCrop',
    'RandomFlip',
    'RandomLongSide',
    'RandomRotate90',
    'RandomTranspose',
    'ScaleJitter',
    'SeededSampler',
    'Split',
    'TargetCopyPaste',
    'TorchvisionTransform',
    'find_datasets',
    'find_leaks',
    'open_split',
]
