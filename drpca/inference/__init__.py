"""Frames in, detections out; the one way to a detector."""
