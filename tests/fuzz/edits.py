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

import numpy as np
import torch
from PIL import Image
from torch import Tensor

DELETED = '<deleted>'
MARK = 'MARK'
Edit = list[Any]


def apply(edits: list[Edit]) -> None:
    """Do the edits in the working directory, in their order."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for name, *arguments in edits:
            EDITS[name](*arguments)


def splice(file: str, position: int, count: int, text: str = '') -> None:
    """Bytes of a hexadecimal text in the place of ``count`` bytes, of all that follow where it is negative."""
    content = bytearray(Path(file).read_bytes())
    start = position * max(len(content) - 1, 0) // 65536
    content[start : start + count if count >= 0 else None] = bytes.fromhex(text)
    Path(file).write_bytes(content)


def flip(file: str, position: int, bit: int) -> None:
    content = Path(file).read_bytes()
    if content:
        splice(file, position, 1, f'{content[position * (len(content) - 1) // 65536] ^ 1 << bit:02x}')


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
    text = Path(file).read_bytes().decode('utf-8', 'surrogateescape').replace(old, new, 1)
    Path(file).write_bytes(text.encode('utf-8', 'surrogateescape'))


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values stand in a JSON value, the whole first."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [way, *(place for key in keys for place in _places(value[key], (*way, key)))]


def put_json(file: str, number: int, value: Any) -> None:
    """Put a value at one of the places of a JSON file, the last line of a ``.jsonl``."""
    path = Path(file)
    lines = path.read_text().splitlines() if path.suffix == '.jsonl' else [path.read_text()]
    node = whole = {'': json.loads(lines[-1])}
    places = _places(whole[''])
    *way, last = ('', *places[number % len(places)])
    for key in way:
        node = node[key]
    if value == DELETED and way:
        del node[last]
    else:
        node[last] = value
    lines[-1] = json.dumps(whole[''])
    path.write_text('\n'.join(lines) + '\n')


def nest(file: str, depth: int) -> None:
    Path(file).write_text('[' * depth + ']' * depth)


def _png(width: int, height: int, data: bool = True) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    body = chunk(b'IDAT', zlib.compress(bytes(1000))) if data else b''
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + body + chunk(b'IEND', b'')


_VALUES = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
_GREY = Image.fromarray((_VALUES // 4).astype(np.uint8))
_POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 32 32
%%EndComments
(MARK) (w) file closefile
showpage
"""
# Valid pictures of unusual kinds, and bombs: their bytes, or a picture and how it is saved.
IMAGES: dict[str, Any] = {
    'bomb': _png(60000, 60000), 'huge': _png(2**31 - 1, 2**31 - 1), 'no pixels': _png(0, 0),
    'no data': _png(32, 32, data=False), 'postscript': _POSTSCRIPT,
    'svg': b'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32"/>',
    'one pixel': (_GREY.resize((1, 1)), 'PNG'), 'line': (_GREY.resize((2000, 1)), 'PNG'),
    'empty': (Image.new('L', (32, 32)), 'PNG'),
    'float': (Image.fromarray(np.full((32, 32), np.nan, np.float32)), 'TIFF'),
    'int': (Image.fromarray(_VALUES.astype(np.int32) - 500), 'TIFF'), 'pages': (_GREY, 'TIFF'),
    **{kind: (_GREY, kind) for kind in ('GIF', 'WEBP', 'PPM', 'ICO', 'TGA', 'JPEG2000', 'PCX')},
    **{kind: (_GREY.convert(kind), 'TIFF') for kind in ('CMYK', 'YCbCr', 'LAB')},
    **{kind: (_GREY.convert(kind), 'PNG') for kind in ('1', 'P', 'LA', 'RGBA', 'RGB')},
}  # fmt: skip


def image(file: str, kind: str) -> None:
    made = IMAGES[kind]
    if not isinstance(made, bytes):
        out = io.BytesIO()
        more = {'save_all': True, 'append_images': [_GREY.resize((16, 16))] * 3} if kind == 'pages' else {}
        made[0].save(out, made[1], **more)
        made = out.getvalue()
    Path(file).write_bytes(made)


_GOOD = np.full((32, 32), 0.5, np.float32)
# What stands as ``T`` in a MATLAB file.
MATS: dict[str, Any] = {
    'nan': _GOOD * np.nan, 'inf': _GOOD * np.inf, 'two': _GOOD * 4, 'negative': -_GOOD, 'double': _GOOD.astype(float),
    'int': (_GOOD > 1).astype(np.int64), 'bool': _GOOD > 0, 'complex': _GOOD * 1j, 'text': 'abc', 'empty': _GOOD[:0],
    'cube': _GOOD[None], 'vector': _GOOD[0], 'struct': {'a': _GOOD}, 'object': np.array([_GOOD, 'a'], dtype=object),
    'sparse': _GOOD, 'wide': np.zeros((1, 100000), np.float32), 'v4': _GOOD, 'other': _GOOD,
    'bomb': np.zeros((6000, 6000), np.float32),
}  # fmt: skip


def mat(file: str, kind: str) -> None:
    from scipy import sparse
    from scipy.io import savemat

    value = sparse.csr_array(MATS[kind]) if kind == 'sparse' else MATS[kind]
    name, version = 'S' if kind == 'other' else 'T', '4' if kind == 'v4' else '5'
    savemat(file, {name: value}, do_compression=kind == 'bomb', format=version)


class _Marker:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(MARK).resolve(),))


_TENSORS: dict[str, Callable[[Tensor], Any]] = {
    'nan': lambda t: torch.full_like(t.float(), float('nan')),
    'inf': lambda t: torch.full_like(t.float(), float('inf')),
    'bool': lambda t: t > 0,
    'complex': lambda t: t.to(torch.complex64),
    'quantised': lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
    'on meta': lambda t: t.to('meta'),
    'int': lambda t: t.to(torch.int32),
    'half': lambda t: t.half(),
    'double': lambda t: t.double(),
    'sparse': lambda t: t.float().reshape(-1, 1).to_sparse(),
    'empty': lambda t: torch.empty(0),
    'larger': lambda t: torch.zeros(t.numel() + 1),
    'text': lambda t: 'abc',
    'number': lambda t: 1.5,
    'mapping': lambda t: {'a': t},
}
NOT_CAST = tuple(_TENSORS)[:6]
_WHOLE: dict[str, Callable[[dict[Any, Any]], Any]] = {
    'bare': lambda weights: weights, 'list': lambda weights: [weights], 'none': lambda weights: None,
}  # fmt: skip
_PARTS = ('optimizer', 'param_schedulers', 'message_hub', 'meta', 'state_dict')
_METAS = {'meta text': 'abc', 'meta list': [1], 'meta none': None}
STATES = (*_TENSORS, *_PARTS, *_WHOLE, 'strange keys', 'missing', 'marker', *_METAS, 'epoch')


def state(file: str, kind: str, number: int) -> None:
    """Save a checkpoint again with one thing wrong in it."""
    content = torch.load(file, weights_only=False)
    weights = content.get('state_dict', content)
    name = list(weights)[number % len(weights)]
    if kind in _TENSORS:
        weights[name] = _TENSORS[kind](weights[name])
    elif kind in _PARTS:
        content.pop(kind, None)
    elif kind in _WHOLE:
        content = _WHOLE[kind](weights)
    elif kind in _METAS:
        content['meta'] = _METAS[kind]
    elif kind == 'strange keys':
        weights[7] = weights[None] = weights[('a', 1)] = weights[name]
    elif kind == 'missing':
        del weights[name]
    elif kind == 'marker':
        content['extra'] = _Marker()
    elif kind == 'epoch':
        content.setdefault('meta', {})['epoch'] = (-1, 10**9, 'x', None, 1.5, float('nan'))[number % 6]
    torch.save(content, file)


def config_text(file: str, text: str) -> None:
    """Put a text in the place of the config that a checkpoint holds."""
    content = torch.load(file, weights_only=False)
    content['meta']['cfg'] = text
    torch.save(content, file)


def config_part(file: str, old: str, new: str) -> None:
    """Change the config that a checkpoint holds."""
    held = torch.load(file, weights_only=False)['meta']['cfg']
    config_text(file, str(held).replace(old, new, 1))


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
    graph = model.graph
    if kind == 'external':
        convert_model_to_external_data(model, location='outside', size_threshold=0)
        onnx.save(model, file)
        for entry in (entry for tensor in graph.initializer for entry in tensor.external_data):
            if entry.key == 'location':
                entry.value = '../../../../etc/passwd'
    elif kind.startswith('no '):
        del {'no metadata': model.metadata_props, 'no outputs': graph.output}[kind][:]
    elif kind == 'rank':
        del graph.input[0].type.tensor_type.shape.dim[0]
    else:
        owner, name, value = {
            'opset': (model.opset_import[0], 'version', 9999), 'input': (graph.input[0], 'name', 'other'),
            'operator': (graph.node[0], 'op_type', 'NoSuchOperator'),
            'domain': (graph.node[0], 'domain', 'no.such.domain'),
        }[kind]  # fmt: skip
        setattr(owner, name, value)
    Path(file).write_bytes(model.SerializeToString())


ONNX = ('opset', 'input', 'operator', 'domain', 'rank', 'no metadata', 'no outputs', 'external')


def archive(file: str, member: str, kind: str) -> None:
    """Replace the first member of a zip archive (``.pth``, ``.pt2``) whose name contains ``member``."""
    import pickle
    import zipfile

    with zipfile.ZipFile(file) as old:
        contents = {info.filename: old.read(info) for info in old.infolist()}
    name = next((name for name in contents if member in name), None)
    if name is None:
        return
    if kind == 'gone':
        del contents[name]
    elif kind == 'marker':
        inner = io.BytesIO()
        torch.save(_Marker(), inner)
        contents[name] = inner.getvalue() if name.endswith('.pt') else pickle.dumps(_Marker())
    else:
        contents[name] = b'' if kind == 'emptied' else contents[name][: len(contents[name]) // 2]
    with zipfile.ZipFile(file, 'w') as new:
        for key, content in contents.items():
            new.writestr(key, content)


def pack(file: str, kind: str) -> None:
    """Add to a zip or tar archive what must not be taken out of one."""
    import tarfile
    import zipfile

    name = {'up': '../MARK', 'absolute': str(Path('MARK').absolute()), 'within': 'listed/images/../../../MARK'}.get(
        kind
    )
    if file.endswith('.zip'):
        with zipfile.ZipFile(file, 'a', zipfile.ZIP_DEFLATED) as pack:
            info = zipfile.ZipInfo(name or 'listed/images/e.png')
            if kind == 'link':
                info.external_attr = 0o120777 << 16
            pack.writestr(info, b'/etc/passwd' if kind == 'link' else bytes(2**27 if kind == 'bomb' else 9), 8)
        return
    with tarfile.open(file, 'a') as tar:
        member = tarfile.TarInfo(name or 'listed/images/e.png')
        if kind in ('link', 'device'):
            member.type, member.linkname = tarfile.SYMTYPE if kind == 'link' else tarfile.CHRTYPE, '/etc/passwd'
        else:
            member.size = 9
        tar.addfile(member, io.BytesIO(bytes(9)) if member.size else None)


PACKS = ('up', 'absolute', 'within', 'link', 'device', 'bomb')

EDITS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        flip, splice, write, copy, remove, folder, fifo, link, disk, replace, put_json, nest, image, mat, state,
        config_text, config_part, rules, onnx_part, archive, pack,
    )
}  # fmt: skip
