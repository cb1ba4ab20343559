"""What an image is recognised by: its grey values, and the scene that it shows; kept, so that each is read once.

Two images show the same scene where the structure of their 32 × 32 thumbnails correlates by at least ``SAME_SCENE``:
the same background with another target, another brightness or contrast, or a moment later. Of the 440,000 pairs of a
training and a test image of NUDT-SIRST 40 do, all of them the same place to the eye; the next pair, at 0.904, is not.
Of the 91,000 pairs of SIRST V1 none does. A copy that is shifted, turned or cut differently is not recognised.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from drpca.datasets.io import parallel_map, read_image
from drpca.errors import UserError
from drpca.fetch import cache_folder
from drpca.files import save_bytes

SAME_SCENE = 0.93
_SIDE = 32
_SMOOTHED = 2.0
_CLIPPED = 3.0
_AT_ONCE = 64
_FIELDS = ('names', 'stamps', 'digests', 'scenes')


@dataclass(frozen=True)
class Fingerprint:
    """What an image is recognised by.

    Attributes:
        digest: See :func:`pixel_hash`.
        scene: See :func:`scene_descriptor`; float16.
    """

    digest: str
    scene: np.ndarray


def pixel_hash(image: np.ndarray) -> str:
    """Hash of the size and the grey values, whatever file they came from."""
    return hashlib.sha256(f'{image.dtype}{image.shape}'.encode() + image.tobytes()).hexdigest()


def scene_descriptor(image: np.ndarray) -> np.ndarray:
    """The structure of a scene, in units in which the scalar product of two is their correlation.

    A 32 × 32 thumbnail (means of areas) minus its Gaussian blur of σ = 2, clipped at three times its root mean square,
    so that a target does not outweigh the rest, and scaled to mean 0 and norm 1.

    Args:
        image: (H, W) grey values of any range.

    Returns:
        (1024,) float32; zeros where the thumbnail has no structure.
    """
    small = cv2.resize(image.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    structure = np.asarray(small - cv2.GaussianBlur(small, (0, 0), _SMOOTHED), dtype=np.float32)
    limit = _CLIPPED * float(np.sqrt(np.mean(structure**2)))
    structure = np.clip(structure, -limit, limit).ravel()
    structure = structure - structure.mean()
    norm = float(np.linalg.norm(structure))
    return structure / norm if norm > 1e-3 else np.zeros_like(structure)


def fingerprint(image: np.ndarray) -> Fingerprint:
    """Of (H, W) grey values."""
    return Fingerprint(pixel_hash(image), scene_descriptor(image).astype(np.float16))


def fingerprints(paths: Sequence[Path], seconds: float | None = None) -> dict[Path, Fingerprint]:
    """Fingerprints of image files: of those that were read before out of the cache, as long as the files are the same.

    Args:
        paths: The files.
        seconds: Read no further files after so much time; None: read all.

    Returns:
        By file; those are missing that cannot be read, and those for which there was no time.
    """
    paths = list(dict.fromkeys(paths))
    known = {path: kept for path, kept in _recall(paths).items() if kept is not None}
    missing = [path for path in paths if path not in known]
    start, fresh = time.monotonic(), {}
    for first in range(0, len(missing), _AT_ONCE):
        if seconds is not None and time.monotonic() - start > seconds:
            break
        some = missing[first : first + _AT_ONCE]
        fresh.update({path: found for path, found in zip(some, parallel_map(_read, some)) if found is not None})
    remember(fresh)
    return known | fresh


def same_scenes(ours: np.ndarray, theirs: np.ndarray | None = None) -> Iterator[tuple[int, int]]:
    """Pairs of the same scene.

    Args:
        ours: (N, 1024) descriptors.
        theirs: (M, 1024) others; None: each pair within ``ours`` once.

    Yields:
        (i, j), indices into ``ours`` and ``theirs``, by i; i < j within one set.
    """
    ours = ours.astype(np.float32)
    others = ours if theirs is None else theirs.astype(np.float32)
    for first in range(0, len(ours), 256):
        for i, j in np.argwhere(ours[first : first + 256] @ others.T >= SAME_SCENE):
            if theirs is not None or first + i < j:
                yield int(first + i), int(j)


def remember(found: Mapping[Path, Fingerprint]) -> None:
    """Adds fingerprints of files to the cache; where it cannot be written, they are read again next time."""
    folders: dict[Path, dict[str, Fingerprint]] = defaultdict(dict)
    for path, kept in found.items():
        folders[path.parent][path.name] = kept
    for folder, entries in folders.items():
        old = {name: value for name, value in _read_cache(folder).items() if (folder / name).is_file()}
        with suppress(OSError, UserError):
            new = {name: (_stamp(folder / name), kept) for name, kept in entries.items()}
            if all(name in old and old[name][0] == stamp for name, (stamp, _) in new.items()):
                continue
            table = old | new
            content = io.BytesIO()
            np.savez(
                content,
                names=list(table),
                stamps=[stamp for stamp, _ in table.values()],
                digests=[kept.digest for _, kept in table.values()],
                scenes=[kept.scene for _, kept in table.values()],
            )
            path = _cache_file(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_bytes(path, content.getvalue(), overwrite=True)


def _read(path: Path) -> Fingerprint | None:
    try:
        return fingerprint(read_image(path))
    except UserError:
        return None


def _recall(paths: Sequence[Path]) -> dict[Path, Fingerprint | None]:
    caches = {folder: _read_cache(folder) for folder in {path.parent for path in paths}}
    found: dict[Path, Fingerprint | None] = {}
    for path in paths:
        stamp, kept = caches[path.parent].get(path.name, (None, None))
        with suppress(OSError):
            found[path] = kept if stamp == _stamp(path) else None
    return found


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _cache_file(folder: Path) -> Path:
    return cache_folder() / 'fingerprints' / f'{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]}.npz'


def _read_cache(folder: Path) -> dict[str, tuple[tuple[int, int], Fingerprint]]:
    try:
        with np.load(_cache_file(folder), allow_pickle=False) as file:
            names, stamps, digests, scenes = (file[key] for key in _FIELDS)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    if scenes.shape != (len(names), _SIDE**2) or stamps.shape != (len(names), 2) or len(digests) != len(names):
        return {}
    return {
        str(name): ((int(size), int(moment)), Fingerprint(str(digest), scene))
        for name, (size, moment), digest, scene in zip(names, stamps, digests, scenes)
    }
