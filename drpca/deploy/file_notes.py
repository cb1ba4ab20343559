"""What an exported file says of itself, for people and programs that know nothing of this project."""

from __future__ import annotations

from collections.abc import Mapping

from drpca.deploy.backends import InputRules
from drpca.version import versions

INPUT, OUTPUT = 'image', 'logits'


def notes(rules: InputRules, made_from: Mapping[str, str]) -> dict[str, str]:
    """Everything that running the file takes, in words.

    Args:
        rules: What the network needs of its input.
        made_from: Where it comes from, as far as known: ``config``, ``dataset``, ``weights``, ``weights_sha256``.

    Returns:
        Name → text.
    """
    size = f'{rules.fixed_size} x {rules.fixed_size} pixels.' if rules.fixed_size else 'Any height and width.'
    if rules.inference_size:
        size += (
            f' Trained on, and to be judged by, frames resized to {rules.inference_size} x {rules.inference_size}, '
            'bilinearly without antialiasing (OpenCV INTER_LINEAR); 8-bit frames stay 8-bit until then.'
        )
    channels = f'{rules.frames} successive grey frames, the oldest first' if rules.frames > 1 else 'one grey channel'
    return {
        'network': rules.network,
        'input': f'{INPUT}: float32, (batch, {rules.frames}, height, width), {channels}.',
        'size': size,
        'values': (
            '0 to 1. 8-bit frames: x / 255. Others: (x - low) / (high - low), with the lowest and highest value of the '
            'whole frame before it is resized; isolated pixels that take more than half of that range left out of it.'
        ),
        'grey': 'Colours become grey by ITU-R 601 luma, 0.299 R + 0.587 G + 0.114 B (OpenCV IMREAD_GRAYSCALE).',
        'padding': padding(rules),
        'output': (
            f'{OUTPUT}: float32, (batch, {len(rules.reported)}, height, width)'
            + (f', of frames {", ".join(str(place + 1) for place in rules.reported)}' if rules.frames > 1 else '')
            + '. Score = 1 / (1 + exp(-logit)).'
        ),
        'threshold': 'Score above 0.5, which is a logit above 0.',
        **made_from,
        'versions': ', '.join(f'{name} {version}' for name, version in versions().items()),
    }


def padding(rules: InputRules) -> str:
    """The rule in one sentence."""
    if rules.fixed_size or not needs_padding(rules):
        return 'None.'
    how = 'by reflection without the border pixel' if rules.pad_mode == 'reflect' else f'with {rules.pad_value:g}'
    return f'At the bottom and the right {how}, to {sides(rules)}; crop the output.'


def sides(rules: InputRules) -> str:
    """Which sides the file takes."""
    return f'sides of at least {rules.min_size} that are multiples of {rules.multiple}'


def needs_padding(rules: InputRules) -> bool:
    """Whether there are frames that the network does not take as they are; a detector takes them from 8 × 8 on."""
    return rules.multiple > 1 or rules.min_size > InputRules('').min_size
