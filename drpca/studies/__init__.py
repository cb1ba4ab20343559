"""Robustness, decomposition, sequences, speed of inference and of training."""
