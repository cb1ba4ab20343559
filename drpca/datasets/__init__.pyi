from .dataset import InfraredDataset
from .leaks import Leak, find_leaks
from .published_transforms import GaussianBlur, RandomLongSide
from .samplers import SeededSampler
from .splits import Split, find_datasets, open_split
from .transforms import (
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
