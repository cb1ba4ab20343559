"""Hooks over MMEngine's Runner, one a file."""
