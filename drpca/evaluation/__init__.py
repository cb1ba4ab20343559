"""Evaluation: pure metric functions, named protocols, accumulating metrics, scoring of results folders."""

from drpca.evaluation.metrics import Evaluator, TargetMetric
from drpca.evaluation.protocols import Protocol, build_protocol, known_protocols

__all__ = ['Evaluator', 'Protocol', 'TargetMetric', 'build_protocol', 'known_protocols']
