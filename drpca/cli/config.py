"""``tools/config.py``: shows a config as it is used."""

from __future__ import annotations

import argparse
import shutil
import textwrap

from mmengine.config import Config

from drpca.cli.common import OptionsAction, command_parser
from drpca.cli.guard import guarded
from drpca.config import KNOWN_KEYS, data_sets, find_config, list_configs, load_config, sequence_sets, split_name

_DESCRIPTION = """\
Print a config with all that it inherits, as a config file of its own; without CONFIG, all names."""

_EXAMPLES = """\
  python tools/config.py acm_irstd_1k
      whether or not a file of that name is there
  python tools/config.py lrrnet_sirstv1 --dataset NUDT-SIRST --cfg-options train_cfg.max_epochs=50
      as run_configs.py would train it
  python tools/config.py acm_sirstv1 > mine.py"""


def list_names() -> str:
    """All config names, a line a folder."""
    folders: dict[str, dict[str, None]] = {}
    for name, path in list_configs().items():
        parts = split_name(path)
        kind = '<sequences>' if parts and parts[0] in sequence_sets() else '<data~set>'  # one word until it is wrapped
        shown = f'{path.parent.name}_{kind}{parts[1]}' if parts else name
        folders.setdefault(path.parent.name, {})[shown] = None
    width, indent = shutil.get_terminal_size().columns, ' ' * 18
    lines = [
        textwrap.fill(' '.join(shown), width, initial_indent=f'{folder:18s}', subsequent_indent=indent,
                      break_on_hyphens=False)
        for folder, shown in sorted(folders.items())
    ]  # fmt: skip
    kinds = {'<data set>': data_sets(), '<sequences>': sequence_sets()}
    lines += ['', *(textwrap.fill(f'{kind}: {" ".join(names)}', width) for kind, names in kinds.items())]
    return '\n'.join(lines).replace('<data~set>', '<data set>')


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('config.py', _DESCRIPTION, _EXAMPLES, done='printed')
    add = parser.add_argument
    add('config', nargs='?', metavar='CONFIG', help='a config, by name or path')
    add('--dataset', metavar='D', help="in place of the config's own")
    add('--cfg-options', nargs='+', action=OptionsAction, default={}, metavar='K=V', help='keys to change')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    if args.config is None:
        print(list_names())
        return 0
    config = load_config(find_config(args.config), args.dataset, options=args.cfg_options)
    text = Config({key: value for key, value in config.items() if key in KNOWN_KEYS}).pretty_text
    print(text.rstrip('\n'))
    return 0
