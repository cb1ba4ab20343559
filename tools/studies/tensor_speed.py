"""Times tensor train and tensor ring against a plain form of the same equations, in one run, by processor time.

    python tools/studies/tensor_speed.py --input sequences/sequence1/images
    python tools/studies/tensor_speed.py --size 128 --rounds 3          frames of a synthetic sequence

The plain form takes NumPy's SVD of every unfolding and goes through whole arrays. Printed are seconds
a frame of one block on one thread, the median ratio of a round, iterations of both, and how far T differs at most.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from drpca.baselines import TensorRing, TensorTrain
from drpca.baselines.frame_windows import PatchStack
from drpca.baselines.parallel import one_thread
from drpca.baselines.tensor_ring import PatchTensor
from drpca.baselines.unfoldings import solve_unfoldings
from drpca.datasets.io import read_image
from drpca.datasets.splits import image_files
from drpca.datasets.synthetic_sequence import generate_sequence
from drpca.deploy.processor import machine

METHODS = {
    'tensorring': partial(TensorRing, 'toolbox'),
    'tensorring_fast': partial(TensorRing, 'fast'),
    'tensortrain': partial(TensorTrain, 'toolbox'),
}


def plain(method: PatchTensor, data: np.ndarray) -> tuple[np.ndarray, int]:
    """T of a tensor (p, p, frames, patches), and the number of iterations."""
    unfoldings, sparse_weight = method.unfoldings(data.shape)
    b, beta, positive, iterations = data.copy(), 1e-4, 0, 0
    t, n, e = (np.zeros_like(data) for _ in range(3))
    c = [np.zeros_like(data) for _ in unfoldings]
    for _ in range(method.max_iterations):
        iterations += 1
        u = []
        for one, multiplier in zip(unfoldings, c):
            turned = (b - multiplier).transpose(one.order)
            matrix = turned.reshape(one.sides(data.shape))
            left, sigma, right = np.linalg.svd(matrix, full_matrices=False)
            low = (left * np.maximum(sigma - one.weight / beta, 0)) @ right
            u.append(low.reshape(turned.shape).transpose(np.argsort(one.order)))
        b = (sum(u) + sum(c) + data - t - n + e) / (len(u) + 1)
        argument = data - b - n + e
        t = np.sign(argument) * np.maximum(np.abs(argument) - sparse_weight / beta, 0)
        c = [(multiplier + low - b) / method.growth for multiplier, low in zip(c, u)]
        e = e + data - b - t - n
        n = beta * (data - b - t + method.noise_sign * e) / (beta + 2 * method.noise_weight)
        e, beta = e / method.growth, beta * method.growth
        previous, positive = positive, np.count_nonzero(t > 0)
        if np.linalg.norm(data - b - t - n) < method.tolerance * np.linalg.norm(data) or positive == previous > 0:
            break
    return t, iterations


def main(argv: list[str] | None = None) -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument('--input', type=Path, help='folder of frames (default: a synthetic sequence)')
    parser.add_argument('--size', type=int, default=256, help='of the synthetic sequence')
    parser.add_argument('--frames', type=int, default=15, help='of the block')
    parser.add_argument('--rounds', type=int, default=1)
    args = parser.parse_args(argv)
    if args.input:
        frames = np.stack([read_image(path, 'luma') for path in image_files(args.input)[: args.frames]])
    else:
        frames = generate_sequence(0, num_frames=args.frames, size=args.size).frames
    print(machine())
    for name in args.methods:
        method = METHODS[name](window=args.frames)
        data = PatchStack(frames.shape[1:], method.patch_size, method.step).patches(frames.astype(float) / 255)
        unfoldings, sparse_weight = method.unfoldings(data.shape)
        ratios = []
        for _ in range(args.rounds):
            records: list = []
            with one_thread:
                times = [time.process_time()]
                parts = solve_unfoldings(
                    data, unfoldings, sparse_weight, method.noise_weight, noise_sign=method.noise_sign,
                    growth=method.growth, records=records,
                )  # fmt: skip
                times.append(time.process_time())
                target, iterations = plain(method, data)
                times.append(time.process_time())
            own, other = np.diff(times) / len(frames)
            ratios.append(other / own)
        print(
            f'{name}: {own:.3f} s a frame, plain {other:.3f}, ratio {statistics.median(ratios):.2f}; iterations '
            f'{len(records)} and {iterations}; T differs by {np.abs(parts.target - target).max():.1e}'
        )
    return 0


if __name__ == '__main__':
    sys.exit(main())
