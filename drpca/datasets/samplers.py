"""Order of the samples and the seed of each one's augmentation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from drpca.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class SeededSampler(Sampler):
    """Yields (index, sample seed); both follow from (seed, epoch) and nothing else.

    The augmentation of a sample is seeded here, in the main process, so that a run gives the same batches
    with any number of workers, and the same set of samples with any number of processes.

    Args:
        dataset: Anything with a length. Unless it says ``takes_seeds = True``, it is given bare indices.
        shuffle: A new order each epoch; otherwise 0, 1, 2, ….
        seed: The same in all processes; None lets MMEngine agree on a random one.
        round_up: Repeat samples from the start, so that all processes get equally many.

    Attributes:
        start: Samples of this process to skip in the current epoch; a run resumed in mid-epoch sets it.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None, round_up: bool = True) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.round_up = round_up
        self.epoch = 0
        self.start = 0

    def __iter__(self) -> Iterator[tuple[int, int] | int]:
        takes_seeds = getattr(self.dataset, 'takes_seeds', False)
        count = len(self.dataset)
        order: np.ndarray = np.arange(count)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(count)
        if self.round_up:
            order = np.resize(order, math.ceil(count / self.world_size) * self.world_size)
        for index in order[self.rank :: self.world_size][self.start :].tolist():
            state = np.random.SeedSequence([self.seed, self.epoch, index]).generate_state(1, np.uint32)
            yield (index, int(state[0])) if takes_seeds else index

    def __len__(self) -> int:
        """Number of samples of this process."""
        left = len(self.dataset) if self.round_up else len(self.dataset) - self.rank
        return math.ceil(left / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Called by MMEngine before each epoch."""
        self.epoch = epoch
