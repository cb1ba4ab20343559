"""Fixtures of the tests of results."""

from tests.mini_results import workplace

__all__ = ['workplace']
