"""Fixtures of the tests of reports."""

from tests.mini_results import workplace

__all__ = ['workplace']
