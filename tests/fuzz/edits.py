"""What a case does to the world's files. Every edit is plain data, ``[name, file, …]``, so a case can be kept and cut.

Positions are shares of the file, in 1/65536, so that they hold whatever its length.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

DELETED = '<deleted>'
MARK = 'MARK'
Edit = list[Any]


def apply(edits: list[Edit]) -> None:
    """Do the edits in the working directory, in their order."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for name, *arguments in edits:
            EDITS[name](*arguments)


def _changed(file: str, change: Callable[[bytearray], None]) -> None:
    content = bytearray(Path(file).read_bytes())
    change(content)
    Path(file).write_bytes(content)


def _at(content: bytearray, position: int) -> int:
    return position * max(len(content) - 1, 0) // 65536


def flip(file: str, position: int, bit: int) -> None:
    def change(content: bytearray) -> None:
        if content:
            content[_at(content, position)] ^= 1 << bit

    _changed(file, change)


def put(file: str, position: int, text: str) -> None:
    """Overwrite with the bytes of a hexadecimal text."""

    def change(content: bytearray) -> None:
        start, new = _at(content, position), bytes.fromhex(text)
        content[start : start + len(new)] = new

    _changed(file, change)


def insert(file: str, position: int, text: str) -> None:
    def change(content: bytearray) -> None:
        start = _at(content, position)
        content[start:start] = bytes.fromhex(text)

    _changed(file, change)


def cut(file: str, position: int) -> None:
    def change(content: bytearray) -> None:
        del content[_at(content, position) :]

    _changed(file, change)


def drop(file: str, position: int, count: int) -> None:
    def change(content: bytearray) -> None:
        start = _at(content, position)
        del content[start : start + count]

    _changed(file, change)


def write(file: str, text: str) -> None:
    """A file of one's own; surrogates stand for bytes that are no UTF-8."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    remove(file)
    Path(file).write_bytes(text.encode('utf-8', 'surrogateescape'))


def copy(source: str, file: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, file)


def remove(file: str) -> None:
    path = Path(file)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def folder(file: str) -> None:
    remove(file)
    Path(file).mkdir(parents=True)


def fifo(file: str) -> None:
    remove(file)
    os.mkfifo(file)


def link(file: str, target: str) -> None:
    remove(file)
    os.symlink(target, file)


def disk(limit: int) -> None:
    """No file can grow beyond ``limit`` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def replace(file: str, old: str, new: str) -> None:
    path = Path(file)
    path.write_bytes(
        path.read_bytes()
        .decode('utf-8', 'surrogateescape')
        .replace(old, new, 1)
        .encode('utf-8', 'surrogateescape')
    )


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values stand in a JSON value, the whole first."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [way, *(place for key in keys for place in _places(value[key], (*way, key)))]


def _with(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    node = content
    for key in place[:-1]:
        node = node[key]
    if value == DELETED:
        del node[place[-1]]
    else:
        node[place[-1]] = value
    return content


def put_json(file: str, place: int, value: Any) -> None:
    """Put a value at one of the places of a JSON file, the last line of a ``.jsonl``."""
    path = Path(file)
    lines = path.read_text().splitlines() if path.suffix == '.jsonl' else [path.read_text()]
    content = json.loads(lines[-1])
    places = _places(content)
    lines[-1] = json.dumps(_with(content, places[place % len(places)], value))
    path.write_text('\n'.join(lines) + '\n')


def nest(file: str, depth: int) -> None:
    Path(file).write_text('[' * depth + ']' * depth)


def image(file: str, kind: str) -> None:
    """A valid picture of an unusual kind, or a bomb, in place of a file."""
    import numpy as np
    from PIL import Image

    values = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
    grey = Image.fromarray((values // 4).astype(np.uint8))
    out = io.BytesIO()
    if kind == 'bomb':
        out.write(_png(60000, 60000))
    elif kind == 'huge':
        out.write(_png(2**31 - 1, 2**31 - 1))
    elif kind == 'no pixels':
        out.write(_png(0, 0))
    elif kind == 'no data':
        out.write(_png(32, 32, data=False))
    elif kind == 'postscript':
        out.write(
            b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n(MARK) (w) file closefile\nshowpage\n'
        )
    elif kind == 'svg':
        out.write(b'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32"/>')
    elif kind == 'one pixel':
        grey.resize((1, 1)).save(out, 'PNG')
    elif kind == 'line':
        grey.resize((2000, 1)).save(out, 'PNG')
    elif kind == 'empty':
        Image.new('L', (32, 32)).save(out, 'PNG')
    elif kind == 'float':
        Image.fromarray(np.full((32, 32), np.nan, np.float32)).save(out, 'TIFF')
    elif kind == 'int':
        Image.fromarray(values.astype(np.int32) - 500).save(out, 'TIFF')
    elif kind == 'pages':
        grey.save(out, 'TIFF', save_all=True, append_images=[grey.resize((16, 16))] * 3)
    elif kind in ('GIF', 'WEBP', 'PPM', 'ICO', 'TGA', 'JPEG2000', 'PCX'):
        grey.save(out, kind)
    else:
        grey.convert(kind).save(out, 'TIFF' if kind in ('CMYK', 'YCbCr', 'LAB') else 'PNG')
    Path(file).write_bytes(out.getvalue())


IMAGES = (
    'bomb', 'huge', 'no pixels', 'no data', 'postscript', 'svg', 'one pixel', 'line', 'empty', 'float', 'int', 'pages',
    'GIF', 'WEBP', 'PPM', 'ICO', 'TGA', 'JPEG2000', 'PCX', 'CMYK', 'YCbCr', 'LAB', '1', 'P', 'LA', 'RGBA', 'RGB',
)  # fmt: skip


def _png(width: int, height: int, data: bool = True) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
        )

    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    body = chunk(b'IDAT', zlib.compress(bytes(1000))) if data else b''
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + body + chunk(b'IEND', b'')


def mat(file: str, kind: str) -> None:
    """A MATLAB file whose ``T`` is not what is expected."""
    import numpy as np
    from scipy import sparse
    from scipy.io import savemat

    good = np.full((32, 32), 0.5, np.float32)
    value: Any = {
        'nan': good * np.nan, 'inf': good * np.inf, 'two': good * 4, 'negative': -good, 'double': good.astype(float),
        'int': (good > 1).astype(np.int64), 'bool': good > 0, 'complex': good * 1j, 'text': 'abc', 'empty': good[:0],
        'cube': good[None], 'vector': good[0], 'struct': {'a': good}, 'object': np.array([good, 'a'], dtype=object),
        'sparse': sparse.csr_array(good), 'wide': np.zeros((1, 100000), np.float32), 'v4': good, 'other': good,
        'bomb': np.zeros((6000, 6000), np.float32),
    }[kind]  # fmt: skip
    savemat(
        file,
        {'S' if kind == 'other' else 'T': value},
        do_compression=kind == 'bomb',
        format='4' if kind == 'v4' else '5',
    )


MATS = (
    'nan', 'inf', 'two', 'negative', 'double', 'int', 'bool', 'complex', 'text', 'empty', 'cube', 'vector', 'struct',
    'object', 'sparse', 'wide', 'v4', 'other', 'bomb',
)  # fmt: skip


class _Marker:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(MARK).resolve(),))


def state(file: str, kind: str, number: int) -> None:
    """Save a checkpoint again with one thing wrong in it."""
    import torch

    content = torch.load(file, weights_only=False)
    weights = content.get('state_dict', content)
    name = list(weights)[number % len(weights)]
    tensor = weights[name]
    if kind in (
        'optimizer',
        'param_schedulers',
        'message_hub',
        'meta',
        'state_dict',
        'ema_state_dict',
        'random',
    ):
        content.pop(kind, None)
    elif kind == 'bare':
        content = weights
    elif kind == 'list':
        content = [weights]
    elif kind == 'none':
        content = None
    elif kind == 'strange keys':
        weights[7] = weights[None] = weights[('a', 1)] = tensor
    elif kind == 'missing':
        del weights[name]
    elif kind == 'marker':
        content['extra'] = _Marker()
    elif kind in ('meta text', 'meta list', 'meta none', 'epoch'):
        meta = content.setdefault('meta', {})
        if kind == 'epoch':
            meta['epoch'] = (-1, 10**9, 'x', None, 1.5, float('nan'))[number % 6]
        else:
            content['meta'] = {'meta text': 'abc', 'meta list': [1], 'meta none': None}[kind]
    else:
        weights[name] = {
            'nan': lambda: torch.full_like(tensor.float(), float('nan')),
            'inf': lambda: torch.full_like(tensor.float(), float('inf')),
            'bool': lambda: tensor > 0,
            'int': lambda: tensor.to(torch.int32),
            'complex': lambda: tensor.to(torch.complex64),
            'half': lambda: tensor.half(),
            'double': lambda: tensor.double(),
            'sparse': lambda: tensor.float().reshape(-1, 1).to_sparse(),
            'quantised': lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
            'on meta': lambda: tensor.to('meta'),
            'empty': lambda: torch.empty(0),
            'larger': lambda: torch.zeros(tensor.numel() + 1),
            'text': lambda: 'abc',
            'number': lambda: 1.5,
            'mapping': lambda: {'a': tensor},
        }[kind]()
    torch.save(content, file)


NOT_CAST = ('nan', 'inf', 'bool', 'complex', 'quantised', 'on meta')
STATES = (
    *NOT_CAST, 'int', 'half', 'double', 'sparse', 'empty', 'larger', 'text', 'number', 'mapping', 'optimizer',
    'param_schedulers', 'message_hub', 'meta', 'state_dict', 'bare', 'list', 'none', 'strange keys', 'missing',
    'marker', 'meta text', 'meta list', 'meta none', 'epoch',
)  # fmt: skip


def config_text(file: str, text: str) -> None:
    """Put a text in the place of the config that a checkpoint holds."""
    import torch

    content = torch.load(file, weights_only=False)
    content['meta']['cfg'] = text
    torch.save(content, file)


def config_part(file: str, old: str, new: str) -> None:
    """Change the config that a checkpoint holds."""
    import torch

    content = torch.load(file, weights_only=False)
    content['meta']['cfg'] = str(content['meta']['cfg']).replace(old, new, 1)
    torch.save(content, file)


def rules(file: str, text: str) -> None:
    """Input rules of an ONNX file."""
    import onnx

    model = onnx.load(file)
    for entry in model.metadata_props:
        entry.value = text
    onnx.save(model, file)


def onnx_part(file: str, kind: str) -> None:
    """Something else wrong in an ONNX file."""
    import onnx
    from onnx.external_data_helper import convert_model_to_external_data

    model = onnx.load(file)
    if kind == 'opset':
        model.opset_import[0].version = 9999
    elif kind == 'input':
        model.graph.input[0].name = 'other'
    elif kind == 'operator':
        model.graph.node[0].op_type = 'NoSuchOperator'
    elif kind == 'domain':
        model.graph.node[0].domain = 'no.such.domain'
    elif kind == 'rank':
        del model.graph.input[0].type.tensor_type.shape.dim[0]
    elif kind == 'no metadata':
        del model.metadata_props[:]
    elif kind == 'no outputs':
        del model.graph.output[:]
    elif kind == 'external':
        convert_model_to_external_data(model, location='outside', size_threshold=0)
        onnx.save(model, file)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == 'location':
                    entry.value = '../../../../etc/passwd'
    Path(file).write_bytes(model.SerializeToString())


ONNX = ('opset', 'input', 'operator', 'domain', 'rank', 'no metadata', 'no outputs', 'external')


def archive(file: str, member: str, kind: str) -> None:
    """Replace the first member of a zip archive (``.pth``, ``.pt2``) whose name contains ``member``."""
    import pickle
    import zipfile

    import torch

    with zipfile.ZipFile(file) as old:
        contents = {info.filename: old.read(info) for info in old.infolist()}
    name = next((name for name in contents if member in name), None)
    if name is None:
        return
    if kind == 'marker':
        if name.endswith('.pt'):
            inner = io.BytesIO()
            torch.save(_Marker(), inner)
            contents[name] = inner.getvalue()
        else:
            contents[name] = pickle.dumps(_Marker())
    elif kind == 'gone':
        del contents[name]
    else:
        contents[name] = b'' if kind == 'emptied' else contents[name][: len(contents[name]) // 2]
    with zipfile.ZipFile(file, 'w') as new:
        for key, content in contents.items():
            new.writestr(key, content)


EDITS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        flip, put, insert, cut, drop, write, copy, remove, folder, fifo, link, disk, replace, put_json, nest, image,
        mat, state, config_text, config_part, rules, onnx_part, archive,
    )
}  # fmt: skip
