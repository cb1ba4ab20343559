"""Reading the maps of a MATLAB file, level 5 (``-v6``, ``-v7``).

SciPy's reader follows whatever a file says, and one changed bit can end the process; here each tag and size is
checked before it is used. SciPy writes the files.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drpca.errors import UserError

MAX_BYTES = 2**29
"""Largest file, and largest variable of a compressed one: a float32 map of 134 megapixels."""

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6
_STORED = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
_CLASSES = {
    1: 'cell', 2: 'struct', 3: 'object', 4: 'char', 5: 'sparse', 6: 'double', 7: 'single', 8: 'int8', 9: 'uint8',
    10: 'int16', 11: 'uint16', 12: 'int32', 13: 'uint32', 14: 'int64', 15: 'uint64',
}  # fmt: skip
_FIRST_NUMERIC = 6
_COMPLEX = 0x0800


class _Damaged(Exception):
    """The file does not say what it should."""


@dataclass(frozen=True)
class _Reader:
    """Elements of a part of a file; ``order`` is '<' or '>'."""

    data: memoryview
    order: str

    def element(self, at: int) -> tuple[int, memoryview, int]:
        """Type and content of the element at a position, and where the next one begins."""
        if at + 8 > len(self.data):
            raise _Damaged('it breaks off')
        kind, size = struct.unpack_from(f'{self.order}II', self.data, at)
        if kind >> 16:  # the small form: both numbers in four bytes, content in the next four
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise _Damaged(f'a small element of {size} bytes')
        else:
            start = at + 8
            end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > len(self.data):
            raise _Damaged('it breaks off')
        return kind, self.data[start : start + size], end

    def elements(self, at: int = 0) -> Iterator[tuple[int, memoryview]]:
        while at < len(self.data):
            kind, content, at = self.element(at)
            yield kind, content

    def numbers(self, kind: int, content: memoryview) -> np.ndarray:
        if kind not in _STORED:
            raise _Damaged(f'numbers of the unknown type {kind}')
        dtype = np.dtype(self.order + _STORED[kind])
        if len(content) % dtype.itemsize:
            raise _Damaged('a number that breaks off')
        return np.frombuffer(content, dtype)

    def inflated(self, content: memoryview) -> _Reader:
        """The matrix inside a compressed element."""
        stream = zlib.decompressobj()
        try:
            tag = stream.decompress(content, 8)
            kind, size = struct.unpack(f'{self.order}II', tag)
            if kind != _MATRIX or size > MAX_BYTES:
                raise _Damaged(f'a compressed element of type {kind} and {size} bytes')
            inner = stream.decompress(stream.unconsumed_tail, size) if size else b''
            rest = stream.decompress(stream.unconsumed_tail, 1)
        except (zlib.error, struct.error) as error:
            raise _Damaged(str(error)) from None
        if len(inner) != size or rest or not stream.eof:
            raise _Damaged(f'a compressed element that does not hold its {size} bytes')
        return _Reader(memoryview(inner), self.order)


def read_maps(path: str | Path, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Reads 2-D variables of a MATLAB file as float32.

    Args:
        path: The file.
        keys: Variables that must be there.
        optional: Variables that may be there.

    Raises:
        UserError: The file is missing, of another version (4, 7.3) or damaged, one of ``keys`` is not in it, or a
            variable is no 2-D array of real numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'Cannot read {path}: no such file.')
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f'Cannot read {path}: expected at most {MAX_BYTES:,} bytes, got {path.stat().st_size:,}.')
    try:
        found = dict(_variables(path.read_bytes(), [*keys, *optional]))
    except _Damaged as error:
        raise UserError(f'Cannot read {path}: not a readable MATLAB file ({error}); save it again.') from None
    except OSError as error:
        raise UserError(f'Cannot read {path}: {error.strerror}.') from None
    maps = {}
    for key in (*keys, *(key for key in optional if key in found)):
        value = found.get(key)
        if value is None:
            names = ', '.join(name for name in found if name and not name.startswith('__')) or 'nothing'
            raise UserError(f'Cannot read {path}: expected the variable {key!r}, found {names}.')
        if isinstance(value, str):
            raise UserError(f'Cannot read {path}: expected {key!r} as a 2-D array of real numbers, got {value}.')
        maps[key] = value
    return maps


def _variables(data: bytes, keys: Sequence[str]) -> Iterator[tuple[str, np.ndarray | str]]:
    """Names and values: an array for each of ``keys`` that is one of real numbers, a description for the others."""
    if data.startswith(b'\x89HDF') or data[124:126] in (b'\x00\x02', b'\x02\x00'):
        raise _Damaged('version 7.3, which is HDF5; expected up to 7, as save(…, "-v7") writes')
    if 0 in data[:4]:
        raise _Damaged('version 4; expected 5 to 7, as save(…, "-v7") writes')
    order = {b'IM': '<', b'MI': '>'}.get(data[126:128])
    if order is None:
        raise _Damaged('no header of one')
    for kind, content in _Reader(memoryview(data), order).elements(_HEADER):
        matrix = _Reader(content, order)
        if kind == _COMPRESSED:
            matrix = matrix.inflated(content)
        elif kind != _MATRIX:
            raise _Damaged(f'an element of type {kind}, expected a matrix')
        if len(matrix.data):
            yield _variable(matrix, keys)


def _variable(matrix: _Reader, keys: Sequence[str]) -> tuple[str, np.ndarray | str]:
    kind, flags, at = matrix.element(0)
    if kind != _UINT32 or len(flags) != 8:
        raise _Damaged('a matrix without flags')
    flag = int(matrix.numbers(kind, flags)[0])
    label = _CLASSES.get(flag & 0xFF)
    if label is None:
        return '', f'an array of class {flag & 0xFF}'
    kind, sizes, at = matrix.element(at)
    if kind != _INT32 or not len(sizes):
        raise _Damaged('a matrix without dimensions')
    shape = tuple(int(side) for side in matrix.numbers(kind, sizes))
    kind, name, at = matrix.element(at)
    if kind != _INT8:
        raise _Damaged('a matrix without a name')
    text = bytes(name).decode('latin1')
    numeric = (flag & 0xFF) >= _FIRST_NUMERIC
    if text not in keys or not numeric or flag & _COMPLEX or len(shape) != 2:
        what = 'complex ' if numeric and flag & _COMPLEX else ''
        return text, f'{what}{label} of shape {shape}'
    kind, content, _ = matrix.element(at)
    values = matrix.numbers(kind, content)
    if min(shape) < 0 or values.size != shape[0] * shape[1]:
        raise _Damaged(f'{values.size} values for {shape[0]} × {shape[1]}')
    with np.errstate(over='ignore'):  # to infinity, which scoring refuses
        return text, values.reshape(shape, order='F').astype(np.float32, order='C')
