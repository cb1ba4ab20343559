"""Faster forms of networks, exported files and their runtimes, quantisation."""
