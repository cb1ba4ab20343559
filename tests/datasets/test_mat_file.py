"""Our reader of MATLAB files against SciPy's, which may crash: it runs in processes of its own."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy import io as scipy_io

from drpca.datasets import io
from drpca.datasets.io import read_maps
from drpca.errors import UserError
from tests.support import python

RNG = np.random.default_rng(0)
KINDS = ('f8', 'f4', 'i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8')


def read_mat(path: Path) -> np.ndarray:
    return read_maps(path, ['T'])['T']


@pytest.mark.parametrize('compress', [False, True])
@pytest.mark.parametrize('kind', [*KINDS, 'bool'])
def test_reads_what_scipy_writes(tmp_path: Path, kind: str, compress: bool) -> None:
    for shape in ((5, 7), (1, 1), (1, 3), (0, 0), (130, 70)):
        values = (100 * RNG.random(shape)).astype(kind)
        cell = np.array([1, 'a'], object)
        content = {'other': np.zeros((2, 2, 2)), 'T': values, 'text': 'abc', 'cell': cell}
        scipy_io.savemat(tmp_path / 'a.mat', content, do_compression=compress)
        read = read_mat(tmp_path / 'a.mat')
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, values.astype(np.float32))


@pytest.mark.parametrize('compress', [False, True])
def test_several_variables_in_any_order_and_some_that_need_not_be_there(tmp_path: Path, compress: bool) -> None:
    maps = {'logits': RNG.normal(size=(4, 6)).astype(np.float32), 'T': RNG.random((4, 6))}
    scipy_io.savemat(tmp_path / 'a.mat', maps, do_compression=compress)
    read = read_maps(tmp_path / 'a.mat', ['T'], ['logits', 'mask'])
    assert list(read) == ['T', 'logits']
    for name, values in read.items():
        np.testing.assert_array_equal(values, maps[name].astype(np.float32))
    with pytest.raises(UserError, match="expected the variable 'mask', found logits, T"):
        read_maps(tmp_path / 'a.mat', ['T', 'mask'])
    scipy_io.savemat(tmp_path / 'b.mat', {'T': maps['T'], 'logits': 'text'})
    with pytest.raises(UserError, match="expected 'logits' as a 2-D array of real numbers"):
        read_maps(tmp_path / 'b.mat', ['T'], ['logits'])


def test_windows_of_frames_have_three_axes(tmp_path: Path) -> None:
    frames = RNG.integers(0, 255, (5, 4, 6)).astype(np.uint8)
    scipy_io.savemat(tmp_path / 'a.mat', {'Mix': frames})
    np.testing.assert_array_equal(read_maps(tmp_path / 'a.mat', ['Mix'], dimensions=3)['Mix'], frames)
    with pytest.raises(UserError, match=r'a 2-D array of real numbers, got uint8 of shape \(5, 4, 6\)'):
        read_maps(tmp_path / 'a.mat', ['Mix'])


def element(order: str, kind: int, content: bytes) -> bytes:
    return struct.pack(f'{order}II', kind, len(content)) + content + bytes(-len(content) % 8)


def level_5(order: str, values: np.ndarray, stored: int, kind: int = 6, compress: bool = False) -> bytes:
    """A file with T stored as another type, as MATLAB does for whole numbers."""
    parts = [
        element(order, 6, struct.pack(f'{order}II', kind, 0)),
        element(order, 5, struct.pack(f'{order}2i', *values.shape)),
        element(order, 1, b'T'),
        element(order, stored, values.tobytes(order='F')),
    ]
    matrix = element(order, 14, b''.join(parts))
    if compress:
        packed = zlib.compress(matrix)
        matrix = struct.pack(f'{order}II', 15, len(packed)) + packed
    version = struct.pack(f'{order}H', 0x0100)
    return b'MATLAB 5.0 MAT-file'.ljust(124) + version + (b'IM' if order == '<' else b'MI') + matrix


@pytest.mark.parametrize('compress', [False, True])
@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize(('stored', 'kind'), [(2, 'u1'), (3, 'i2'), (6, 'u4'), (7, 'f4'), (9, 'f8'), (12, 'i8')])
def test_both_byte_orders_and_all_ways_of_storing(
    tmp_path: Path, order: str, stored: int, kind: str, compress: bool
) -> None:
    values = (100 * RNG.random((6, 9))).astype(order + kind)
    (tmp_path / 'a.mat').write_bytes(level_5(order, values, stored, compress=compress))
    np.testing.assert_array_equal(read_mat(tmp_path / 'a.mat'), values.astype(np.float32))
    np.testing.assert_array_equal(scipy_io.loadmat(tmp_path / 'a.mat')['T'], values)


def test_other_versions_and_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / 'a.mat'
    scipy_io.savemat(path, {'T': np.ones((3, 3))}, format='4')
    with pytest.raises(UserError, match='version 4; expected 5 to 7'):
        read_mat(path)
    path.write_bytes(b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM' + bytes(400))
    with pytest.raises(UserError, match=r'version 7\.3, which is HDF5'):
        read_mat(path)
    for content in (b'', b'no map', b'\x89HDF\r\n\x1a\n' + bytes(300), bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(UserError, match='not a readable MATLAB file'):
            read_mat(path)


def test_a_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'a.mat'
    scipy_io.savemat(path, {'T': np.zeros((1000, 1000))}, do_compression=True)
    monkeypatch.setattr(io, 'MAX_MAT_BYTES', 10**6)
    with pytest.raises(UserError, match=r'8\d{6} bytes'):
        read_mat(path)
    scipy_io.savemat(path, {'T': np.zeros((1000, 1000))})
    with pytest.raises(UserError, match='expected at most 1,000,000 bytes'):
        read_mat(path)


def mutate(rng: np.random.Generator, content: bytes) -> bytes:
    """One to three bits, bytes or lengths changed, most of them where tags are."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(120, 210) if rng.random() < 0.7 else rng.integers(len(data)))
        at = min(at, len(data) - 1)
        choice = rng.integers(4)
        if choice == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif choice == 1:
            data[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))
        elif choice == 2:
            data[at : at + 4] = struct.pack('<I', int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 100])))
        else:
            del data[max(at, 1) :]
    return bytes(data)


# Reads files 0.mat, 1.mat, … in forked processes, a new one after each crash, and prints what each holds.
SCIPY = """
import hashlib, os, resource, sys, warnings
import numpy as np
from scipy.io import loadmat
warnings.simplefilter('ignore')
folder, count = sys.argv[1], int(sys.argv[2])
done = 0
while done < count:
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
        for number in range(done, count):
            try:
                values = np.asarray(loadmat(f'{folder}/{number}.mat')['T'])
                real = values.ndim == 2 and values.dtype.kind in 'iuf'
                with np.errstate(all='ignore'):
                    values = values.astype(np.float32) if real else None
                said = f'{values.shape} {hashlib.sha1(values.tobytes()).hexdigest()}' if real else 'other'
            except Exception:
                said = 'refused'
            os.write(writable, (said + '\\n').encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as lines:
        for line in lines:
            print(line, end='')
            done += 1
    if os.waitpid(child, 0)[1]:
        print('crash')
        done += 1
"""


def test_two_thousand_damaged_files(tmp_path: Path) -> None:
    """Never more than a line; where SciPy reads a map too, the same one."""
    rng = np.random.default_rng(1)
    whole = []
    for kind in ('f4', 'f8', 'u1', 'i2'):
        for compress in (False, True):
            values = (200 * rng.random((8, 6))).astype(kind)
            scipy_io.savemat(tmp_path / 'a.mat', {'U': np.eye(2), 'T': values}, do_compression=compress)
            whole.append((tmp_path / 'a.mat').read_bytes())
    whole += [level_5('>', values.astype('>i2'), 3), level_5('<', np.float32(values), 7)]
    flipped = bytearray(level_5('<', np.ones((8, 8), np.float32), 7))
    flipped[177] ^= 0x80  # SciPy's reader dies of it
    files = [bytes(flipped), *(mutate(rng, whole[index % len(whole)]) for index in range(1999))]
    ours = []
    for index, content in enumerate(files):
        path = tmp_path / f'{index}.mat'
        path.write_bytes(content)
        try:
            values = read_mat(path)
            ours.append(f'{values.shape} {hashlib.sha1(values.tobytes()).hexdigest()}')
        except UserError as error:
            ours.append('refused' if str(path) in str(error) else str(error))
    assert {line for line in ours if line[0] != '('} == {'refused'}
    done = python(SCIPY, str(tmp_path), str(len(files)))
    theirs = done.stdout.splitlines()
    assert len(theirs) == len(files)
    both = [(mine, other) for mine, other in zip(ours, theirs) if mine[0] == other[0] == '(']
    assert len(both) > 200
    assert all(mine == other for mine, other in both)
