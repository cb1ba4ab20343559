"""Small weight files of trained runs, to hand on."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor

from drpca.cards import FILE, update_weights, weights_folder
from drpca.checkpoint import TENSORS, load_weights, tensor_bytes
from drpca.config import building, find_config, load_config
from drpca.config_text import config_text
from drpca.errors import UserError
from drpca.files import save_bytes
from drpca.registry import MODELS
from drpca.run_folder import best_run
from drpca.version import __version__


@dataclass(frozen=True)
class PublishedWeights:
    """A file that :func:`publish` wrote.

    Attributes:
        file: The file.
        tensors: The same weights as ``.safetensors``, with what the metafile says of them, and their config.
        sha256: Hash of ``file``.
        size: In bytes.
        checkpoint: The weights of the run that it was made of.
        metafile: The metafile in which it was entered, None if in none.
    """

    file: Path
    tensors: Path
    sha256: str
    size: int
    checkpoint: Path
    metafile: Path | None


def publish(
    config: str | Path,
    *,
    work_dir: str | Path = 'checkpoints',
    seed: int | None = None,
    final: bool = False,
    out: str | Path | None = None,
    limit_mb: float = 20.0,
    metafile: bool = True,
) -> PublishedWeights:
    """Makes a small weight file of a trained run: a bare state dict under the published parameter names.

    It is called <config>-<first digits of its SHA-256>.pth and entered with its hash in the model's metafile. Beside it
    lie the same weights as .safetensors, which say what they are.

    Args:
        config: The config that was trained, a name or a file.
        work_dir: Where its runs are.
        seed: Which run; None: the best on the validation split. Test figures are not looked at.
        final: The run on training and validation images, its last weights.
        out: Folder of the file; None: the project's checkpoints folder.
        limit_mb: Refuse a larger file.
        metafile: Enter it in the metafile, if there is one.

    Raises:
        UserError: No such run, weights that do not fit the config, too large a file, or one that cannot be written.
    """
    path = find_config(config)
    summary, checkpoint = best_run(work_dir, path.stem + '_final' * final, seed)
    loaded = load_config(path)
    state = _weights(loaded, checkpoint)
    buffer = io.BytesIO()  # the name of a file would become part of its contents
    torch.save(state, buffer)
    content = buffer.getvalue()
    if len(content) > limit_mb * 1e6:
        raise UserError(
            f'{checkpoint} would become {len(content) / 1e6:.1f} MB, more than {limit_mb:g}: raise --limit-mb.'
        )
    digest = hashlib.sha256(content).hexdigest()
    file = Path(out or weights_folder()) / f'{path.stem}-{digest[:8]}.pth'
    entry = {
        'Config': path.stem,
        'File': file.name,
        'SHA256': digest,
        'Seed': summary['seed'],
        'Epochs': summary['epochs'],
        'Selection': summary.get('selection', 'val'),
        'Validation IoU': None if summary.get('best') is None else round(summary['best'], 6),
    }
    entry = {key: value for key, value in entry.items() if value is not None}
    described = {key: str(value) for key, value in entry.items()} | {'drpca': __version__, 'cfg': config_text(loaded)}
    save_bytes(file, content, overwrite=True)  # whose name holds its hash
    tensors = save_bytes(file.with_suffix(TENSORS), tensor_bytes(state, described), overwrite=True)
    entered = path.with_name(FILE)
    is_entered = metafile and entered.is_file()
    if is_entered:
        update_weights(entered, entry)
    return PublishedWeights(file, tensors, digest, len(content), checkpoint, entered if is_entered else None)


def _weights(config: Config, checkpoint: Path) -> dict[str, Tensor]:
    """The weights of a run under the names of its network.

    Raises:
        UserError: The checkpoint cannot be read, or does not fit the config.
    """
    with building():
        network = MODELS.build(config.model.network)
    load_weights(network, checkpoint)
    return {name: value.contiguous() for name, value in network.state_dict().items()}
