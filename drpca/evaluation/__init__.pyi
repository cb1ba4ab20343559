from .metrics import Evaluator, TargetMetric
from .protocols import Protocol, build_protocol, known_protocols

__all__ = ['Evaluator', 'Protocol', 'TargetMetric', 'build_protocol', 'known_protocols']
