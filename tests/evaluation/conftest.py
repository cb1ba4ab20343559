"""Fixtures of the evaluation tests."""

from tests.mini_results import workplace

__all__ = ['workplace']
