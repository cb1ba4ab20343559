"""The config inside a checkpoint: written as JSON, read as data.

A checkpoint's ``meta['cfg']`` is a text that whoever made the file wrote, so nothing in it is executed or imported:
:func:`read_config` takes JSON, and of the Python that earlier versions (and MMEngine) write only ``name = value``
with literals, lists, tuples, dicts and ``dict(…)``. Types are names in the registries, without a module before them.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from drpca.config import LOADERS
from drpca.errors import UserError
from drpca.registry import MODELS, SCOPE, LazyRegistry

MAX_LENGTH = 2**20
"""Characters of the longest config text that is read; the project's own have some 10,000."""
MAX_DEPTH = 40

_SCOPES = (SCOPE, 'mmengine')


def config_text(config: Config) -> str:
    """A config as JSON, for a checkpoint. Classes are written by their names, tuples as lists."""
    return json.dumps(config.to_dict(), default=lambda value: getattr(value, '__name__', str(value)))


def read_config(text: Any, path: str | Path) -> Config:
    """The config that a checkpoint holds. No code runs, ``custom_imports`` are left out.

    Args:
        text: ``meta['cfg']``: JSON, or the Python text of earlier versions.
        path: The checkpoint, for messages.

    Raises:
        UserError: Not a config, or one that holds more than data: a call, an expression, a type with a module's name.
    """
    try:
        if not isinstance(text, str) or len(text) > MAX_LENGTH:
            raise ValueError(f'expected a text of up to {MAX_LENGTH:,} characters')
        values = json.loads(text) if text.lstrip().startswith('{') else dict(_assignments(text))
        _check(values)
        _check_parts(values)
        values.pop('custom_imports', None)
        return Config(values)
    except (
        ValueError, SyntaxError, TypeError, KeyError, AttributeError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        reason = ' '.join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f'The config inside {path} is not read ({reason}): only plain data is; give CONFIG, and weights that you '
            'trust.'
        ) from None


def check_model(config: Config, path: str | Path) -> None:
    """Refuse to build the model of a checkpoint's config unless its types are registered.

    MMEngine would import a module of an unknown type's name.

    Raises:
        UserError: There is no model, or a type is no registered network, loss or part of one.
    """
    model = config.get('model')
    if not isinstance(model, Mapping) or 'type' not in model:
        raise UserError(f'The config inside {path} describes no model: give CONFIG.')
    for name in _types(model):
        if not _is_registered(MODELS, name.rpartition('.')[2]):
            raise UserError(
                f'{path} needs {name!r}, which is not a registered model: give the CONFIG that it was trained with, '
                'which imports it.'
            )


def _is_registered(registry: Registry | None, name: str) -> bool:
    while isinstance(registry, LazyRegistry):
        if registry.defines(name):
            return True
        registry = registry.parent
    return registry is not None and name in registry.module_dict


def _types(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from [value['type']] if 'type' in value else []
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _types(item)


def _check(value: Any, depth: int = 0) -> None:
    """Raises ValueError for what cannot stand in a config out of a file."""
    if depth > MAX_DEPTH:
        raise ValueError(f'nested more than {MAX_DEPTH} deep')
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f'expected texts as keys, got {key!r}')
            scope, _, name = inner.rpartition('.') if isinstance(inner, str) else ('', '', '')
            if key == 'type' and not (name.isidentifier() and scope in ('', *_SCOPES)):
                raise ValueError(f'type={inner!r}, expected the name of something registered')
            if key in ('_scope_', 'default_scope') and inner not in (None, *_SCOPES):
                raise ValueError(f'{key}={inner!r}, expected {SCOPE!r}')
            _check(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(inner, depth + 1)
    elif not (value is None or isinstance(value, str | int | float)):
        raise ValueError(f'expected texts and numbers, got a {type(value).__name__}')


def _check_parts(values: dict[str, Any]) -> None:
    """Raises ValueError if what callers look into is of another kind."""
    for key in ('model', 'train_cfg', 'optim_wrapper', *LOADERS):
        part = values.get(key)
        if not (part is None or isinstance(part, dict)):
            raise ValueError(f'{key}: expected a dict, got a {type(part).__name__}')
        if part and key in LOADERS and not isinstance(part.get('dataset'), dict):
            raise ValueError(f'{key}.dataset: expected a dict')
    if not all(isinstance(hook, dict) and 'type' in hook for hook in values.get('custom_hooks') or []):
        raise ValueError('custom_hooks: expected dicts with a type')
    if not isinstance(values.get('inference_size'), int | None):
        raise ValueError(f'inference_size: expected a number or None, got {values["inference_size"]!r}')


def _assignments(text: str) -> Iterator[tuple[str, Any]]:
    for line in ast.parse(text).body:
        if not (isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)):
            raise ValueError(f'line {line.lineno} is no assignment of a value')
        yield line.targets[0].id, _literal(line.value)


def _literal(node: ast.expr) -> Any:
    """The value of a display of constants, lists, tuples, dicts and ``dict(key=…)``; ValueError for anything else."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=items):
            return [_literal(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_literal(item) for item in items)
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_literal(key): _literal(value) for key, value in zip(keys, values) if key}
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=pairs):
            return {pair.arg: _literal(pair.value) for pair in pairs}
    raise ValueError(f'line {node.lineno} holds more than a value')
