from .convert import convert_labels, export_labels
from .dataset import InfraredDataset
from .importing import get_dataset, import_dataset, list_datasets
from .leaks import Leak, find_leaks, write_clean_split
from .published_transforms import GaussianBlur, RandomLongSide
from .samplers import SeededSampler
from .sequence_dataset import SequenceDataset
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
    'SequenceDataset',
    'Split',
    'TargetCopyPaste',
    'TorchvisionTransform',
    'convert_labels',
    'export_labels',
    'find_datasets',
    'find_leaks',
    'get_dataset',
    'import_dataset',
    'list_datasets',
    'open_split',
    'write_clean_split',
]
