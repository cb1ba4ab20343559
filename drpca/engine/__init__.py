"""Training: runs, runner, loop, hooks."""
