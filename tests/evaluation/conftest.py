"""Fixtures of the evaluation tests."""

from mini_results import workplace

__all__ = ['workplace']
