from .checkpoint import load_weights
from .datasets.check import check_datasets
from .datasets.synthetic import generate_dataset
from .engine.publish import publish
from .engine.runs import train
from .inference.detector import Detector
from .inference.export import export
from .leaderboard.build import build_leaderboard
from .leaderboard.paper import figure
from .results.predict import predict
from .results.scoring import score
from .studies.cross_dataset import cross_dataset
from .studies.decomposition_study import analyse_decomposition
from .studies.robustness import robustness
from .studies.sequences import confirmation_gain
from .studies.speed import benchmark
from .studies.training_speed import benchmark_training
from .studies.visualize_stages import visualize_stages

__version__: str
__all__ = [
    'Detector',
    'analyse_decomposition',
    'benchmark',
    'benchmark_training',
    'build_leaderboard',
    'check_datasets',
    'confirmation_gain',
    'cross_dataset',
    'export',
    'figure',
    'generate_dataset',
    'load_weights',
    'predict',
    'publish',
    'robustness',
    'score',
    'train',
    'visualize_stages',
]
