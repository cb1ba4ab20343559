"""Tree of the connected components of a score map at all thresholds (max-tree).

Raising a threshold only splits and shrinks components, so those of all thresholds form a tree: a node is a
set of pixels that is a component over a range of thresholds, its parent the smallest component that contains
it at a lower one (Salembier, Oliveras and Garrido, IEEE TIP 1998). It is built here level by level from the
top: pixels of the level join the components they touch. Every pixel and every pair of neighbours is looked at
once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph


@dataclass(frozen=True)
class ComponentTree:
    """The n nodes, parents after children.

    A node of level l is a component of the pixels at level l and above, down to (without) the level of its
    parent.

    Attributes:
        level: (n,) int, highest level at which the node is a component.
        parent_level: (n,) int, level of its parent; 0 for components that nothing absorbs.
        area: (n,) int, pixels.
        centroid: (n, 2) float, mean (row, column).
        first: (n,) int, its first pixel in scan order, as row · W + column.
    """

    level: np.ndarray
    parent_level: np.ndarray
    area: np.ndarray
    centroid: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.level)


def build_component_tree(levels: np.ndarray) -> ComponentTree:
    """Builds the tree of 8-connected components.

    Args:
        levels: (H, W) int; 0 is never part of a component.
    """
    width = levels.shape[1]
    pixels = np.flatnonzero(levels)
    level_of = levels.ravel()[pixels]
    order = np.argsort(-level_of, kind='stable')
    pixels, level_of = pixels[order], level_of[order]
    builder = _Builder(np.stack(np.divmod(pixels, width), axis=1), pixels)
    edges, edge_level = _edges(levels, pixels)
    for level in np.unique(level_of)[::-1]:
        new = slice(*np.searchsorted(-level_of, (-level, -level + 1)))
        joined = slice(*np.searchsorted(-edge_level, (-level, -level + 1)))
        builder.add_level(int(level), np.arange(new.start, new.stop), edges[joined])
    return builder.finish()


def _edges(levels: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of neighbours, (m, 2) positions in ``pixels``, and the level at which each joins, falling.

    Diagonal pairs are left out where a pixel beside both is at least as high and joins them anyway.
    """
    height, width = levels.shape
    position = np.zeros(levels.shape, dtype=np.int32)
    position.ravel()[pixels] = np.arange(len(pixels), dtype=np.int32)
    pairs, joins = [], []
    for row, column in ((0, 1), (1, 0), (1, 1), (1, -1)):
        rows, rows_below = slice(0, height - row), slice(row, height)
        columns = slice(max(0, -column), width - max(0, column))
        columns_beside = slice(max(0, column), width + min(0, column))
        here, there = (rows, columns), (rows_below, columns_beside)
        join = np.minimum(levels[here], levels[there])
        beside = np.maximum(levels[rows_below, columns], levels[rows, columns_beside]) if row and column else 0
        needed = np.flatnonzero(join > beside)
        pairs.append([position[end].ravel()[needed] for end in (here, there)])
        joins.append(join.ravel()[needed])
    join = np.concatenate(joins)
    order = np.argsort(-join, kind='stable')
    return np.concatenate(pairs, axis=1)[:, order].T, join[order]


class _Builder:
    """Nodes made so far. ``_up`` of a node is its parent, or by a short cut an ancestor, or itself."""

    def __init__(self, positions: np.ndarray, pixels: np.ndarray) -> None:
        size = len(pixels)
        self._positions, self._pixels = positions, pixels
        self._node_of = np.full(size, -1)
        self._up = np.arange(size)
        self._level = np.zeros(size, dtype=np.int64)
        self._parent_level = np.zeros(size, dtype=np.int64)
        self._area = np.zeros(size, dtype=np.int64)
        self._sums = np.zeros((size, 2))
        self._first = np.zeros(size, dtype=np.int64)
        self._count = 0

    def _roots(self, points: np.ndarray) -> np.ndarray:
        """The component that each of the points (positions in ``pixels``) is in now."""
        node = self._node_of[points]
        root = self._up[node]
        while True:
            above = self._up[root]
            if np.array_equal(above, root):
                break
            root = self._up[above]
        self._up[node] = root
        self._node_of[points] = root
        return root

    def add_level(self, level: int, new: np.ndarray, edges: np.ndarray) -> None:
        """Joins the pixels of one level to each other and to the components they touch."""
        old_end = edges < new[0]  # pixels are numbered by falling level
        old_points = edges[old_end]
        roots, old = np.unique(self._roots(old_points), return_inverse=True) if old_points.size else _NOTHING
        ends = edges - new[0]
        ends[old_end] = len(new) + old.ravel()
        size = len(new) + len(roots)
        graph = sparse.coo_matrix((np.ones(len(ends), dtype=bool), (ends[:, 0], ends[:, 1])), shape=(size, size))
        count, group = csgraph.connected_components(graph, directed=False)
        made = slice(self._count, self._count + count)
        of_new, of_old = group[: len(new)], group[len(new) :]
        self._level[made] = level
        self._area[made] = np.bincount(of_new, minlength=count)
        for axis in (0, 1):
            self._sums[made, axis] = np.bincount(of_new, self._positions[new, axis], minlength=count)
        first = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(first, of_new, self._pixels[new])
        if roots.size:
            np.add.at(self._area[made], of_old, self._area[roots])
            np.add.at(self._sums[made], of_old, self._sums[roots])
            np.minimum.at(first, of_old, self._first[roots])
            self._up[roots] = self._count + of_old
            self._parent_level[roots] = level
        self._first[made] = first
        self._node_of[new] = self._count + of_new
        self._count += count

    def finish(self) -> ComponentTree:
        """The tree of all levels added."""
        made = slice(0, self._count)
        return ComponentTree(
            self._level[made],
            self._parent_level[made],
            self._area[made],
            self._sums[made] / self._area[made, None],
            self._first[made],
        )


_NOTHING = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
