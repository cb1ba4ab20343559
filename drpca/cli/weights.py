"""``tools/weights.py``: the weights that have a name, and fetching those of others."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from drpca.cli.common import command_parser
from drpca.cli.guard import guarded
from drpca.errors import UserError, unknown_name
from drpca.options import called

if TYPE_CHECKING:
    from drpca.cards import KnownWeights

_DESCRIPTION = """\
List the weights that have a name: those that come with the project, and those that the authors of networks published.
With 'get', fetch the latter from their authors' repositories to this user's cache, verify them, and load them into
their networks, strictly. --checkpoint published does the same where weights are used.

A broken transfer is taken up where it ended. DRPCA_HOME names another folder for the cache, DRPCA_MIRROR an address in
place of https://raw.githubusercontent.com; proxies are those of the environment (HTTPS_PROXY)."""

_EXAMPLES = """\
  python tools/weights.py
  python tools/weights.py get rpcanet_sirstv1
      then: python inference.py rpcanet_sirstv1 --checkpoint published --input frames/
  python tools/weights.py get --all
  python tools/weights.py --markdown
      the table of docs/weights.md"""

_HEADER = ('name', 'network', 'trained on', 'MB', 'IoU % published', 'measured here', 'licence', 'from')
_LEFT = 3


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('weights.py', _DESCRIPTION, _EXAMPLES, done='done')
    add = parser.add_argument
    add('action', nargs='?', choices=('list', 'get'), default='list', help='default: %(default)s')
    add('names', nargs='*', metavar='NAME', help='what to get: configs')
    add('--all', action='store_true', help='get all')
    add('--markdown', action='store_true', help='list those of others as a Markdown table')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    if args.action == 'get':
        _get(args.names, args.all)
        return 0
    if args.names or args.all:
        raise UserError(f'{" ".join(args.names) or "--all"}: names are for fetching; say: get NAME.')
    from drpca.cards import known_weights

    known = [weights for weights in known_weights() if weights.source != 'drpca' or not args.markdown]
    print(weights_table(known, args.markdown), end='' if args.markdown else '\n')
    return 0


def weights_table(weights: Sequence[KnownWeights], markdown: bool = False) -> str:
    """The list as text, or, without what is on this disk, as Markdown."""
    from drpca.reports.plain_tables import markdown_table, text_table

    def cells(known: KnownWeights) -> list[str]:
        name = f'`{known.config}`' if markdown else known.config
        size = '–' if known.size is None else f'{known.size / 1e6:.1f}'
        figures = [
            '–' if figure is None else f'{100 * figure[0]:.2f}' + f' ({figure[1]})' * bool(figure[1])
            for figure in (known.published, known.measured)
        ]
        return [name, known.network, known.trained_on, size, *figures, known.licence or 'none stated', known.source]

    rows = [cells(known) for known in weights]
    if markdown:
        return markdown_table(_HEADER, rows, _LEFT)
    here = ['yes' if known.is_here else 'no' for known in weights]
    return text_table([*_HEADER, 'on disk'], [[*row, text] for row, text in zip(rows, here)], _LEFT)


def _get(names: Sequence[str], everything: bool) -> None:
    from drpca.cards import known_weights, published_files

    known = published_files()
    own = {weights.config for weights in known_weights() if weights.source == 'drpca'} - known.keys()
    if everything == bool(names):
        raise UserError('Get what? Name configs, or give --all; without arguments the command lists them.')
    for name in names:
        if name in own:
            raise UserError(f'{name} comes with the project: {called("infer")} {name} uses it, without --checkpoint.')
        if name not in known:
            raise unknown_name('published weights', name, list(known))
    from drpca.checkpoint import load_weights
    from drpca.config import find_config, load_config
    from drpca.registry import MODELS

    for name in known if everything else names:
        file = known[name]
        path = file.fetch()
        load_weights(MODELS.build(load_config(find_config(name)).model.network), path)
        licence = f'licence: {file.licence}' if file.licence else 'no licence stated: ask them before you pass it on'
        print(path)
        print(f'  {file.network}, from https://github.com/{file.repository} at {file.commit[:7]}, {licence}')
        print(f'  fits {name}: {called("infer")} {name} --checkpoint published')
