"""``tools/leaderboard.py``: trains what is missing, scores everything, and writes the table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drpca.cli.common import (
    OptionsAction,
    add_job_options,
    add_overwrite_option,
    claim_files,
    command_parser,
    job_options,
    keywords,
    positive,
    seed_argument,
    size_argument,
    write_file,
)
from drpca.cli.guard import guarded
from drpca.errors import EXIT_FAILED, UserError, unknown_name
from drpca.evaluation.protocols import Protocol, known_protocols
from drpca.files import refuse_present

if TYPE_CHECKING:
    from drpca.leaderboard.contenders import Contender, LeaderboardOptions
    from drpca.leaderboard.rows import Published, Row

_DESCRIPTION = """\
Compare methods in one table: networks trained here, published weights and classical methods.

METHOD is a config (rpcanet_sirstv1), a model (rpcanet), or a classical method (tophat, ipi_paper). Every network is
trained once per seed in WORK_DIR/<config>/seed_<n>, as run_configs.py does, with weights selected on the validation
split; what is there already is kept, and what was interrupted goes on, so the same command can be given again at any
time. The test split is scored with inference.py and cal_from_mask.py's presets; score maps are kept in MAPS."""

_EXAMPLES = """\
  python tools/leaderboard.py --dataset SIRSTv1 --seeds 0 1 2 --json table.json --markdown table.md
      the four unfolded networks, three seeds each, and the classical methods
  python tools/leaderboard.py rpcanet drpcanet ipi --dataset SIRSTv1 NUDT-SIRST --dry-run
      what there is and what would be done
  python tools/leaderboard.py --weights published --classical --dataset SIRSTv1
      published weights beside the classical methods; trains nothing
  python tools/leaderboard.py --from table.json --json table.json --markdown table.md
      measure the latency again, on a quiet machine; everything else stays
  python tools/leaderboard.py rpcanet lrrnet --dataset SIRSTv1 --seeds 0 1 2 --executor local --gpus 0 1 2 3
      four trainings at once; on a cluster: --executor slurm --partition P --hours H
  python tools/leaderboard.py rpcanet tophat --dataset SIRSTv1 --grid grid.png --images Misc_70 Misc_96
      and a picture that compares their score maps

the --json file
  protocols {preset: its definition}; rows, a list of
    method, model, config, kind (trained, weights, classical), dataset, split, command, seeds, selection, …
    cost {parameters, used_parameters, gflop, training_seconds, latency_ms, threads, machine}
    figures {preset: {size, mean {IoU, nIoU, F1, Pd, Fa, AUC, partial_auc, pd_at_fa_1e-6, …, hIoU},
            std}}, ratios, std over seeds
    runs [{seed, state (done, failed, missing), message, checkpoint, epochs, seconds, figures, …}]
  drpca/leaderboard/rows.py describes every entry

exit status
  0    done
  1    a run failed; the table marks it
  2    wrong usage or input; one line on standard error says what to do
  75   stopped by SIGTERM or SIGUSR1, 130 by Ctrl-C; give the same command again to go on"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('leaderboard.py', _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument_group('what is compared').add_argument
    add(
        'methods', nargs='*', metavar='METHOD',
        help='default: the four unfolded networks and the classical methods',
    )  # fmt: skip
    add('--dataset', nargs='+', default=[], metavar='D', help='data sets')
    add('--classical', action='store_true', help='all classical methods too, or alone')
    add(
        '--weights', nargs='+', default=[], metavar='CONFIG=FILE',
        help='published weight files too, or alone, each on the data set of its config; CONFIG=published fetches '
        "its authors' file, published those of all configs",
    )  # fmt: skip
    add('--split', default='test', metavar='S', help='split to score (default: %(default)s)')
    add('--data-root', metavar='DIR', help='folder of the data sets (default: $DRPCA_DATA, else datasets)')
    add(
        '--from', dest='source', type=Path, nargs='+', metavar='FILE',
        help='take the rows from these --json files: nothing is trained or scored',
    )  # fmt: skip
    add = parser.add_argument_group('training').add_argument
    add(
        '--seeds', nargs='+', type=seed_argument, default=[0], metavar='N',
        help='one training per seed (default: 0)',
    )  # fmt: skip
    add('--epochs', type=int, metavar='N', help="length of the training (default: the config's)")
    add('--final', action='store_true', help='train on trainval and score the last weights, without selection')
    add('--fast', action='store_true', help='fast settings, see run_configs.py --help')
    add(
        '--log-test-every', type=positive, metavar='N',
        help='log the test figures every N epochs, for the published best-on-test convention; selects nothing',
    )  # fmt: skip
    add(
        '--cfg-options', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE',
        help="override keys of the networks' configs",
    )  # fmt: skip
    add('--work-dir', default='checkpoints', metavar='DIR', help='where runs are kept (default: %(default)s)')
    add('--no-train', action='store_true', help='score what is trained, mark what is not')
    add_job_options(parser.add_argument_group('trainings at once'))
    add = parser.add_argument_group('scoring').add_argument
    add(
        '--protocol', nargs='+', default=known_protocols(), metavar='NAME',
        help='presets (default: all); the main table is of drpca, or else of the first',
    )  # fmt: skip
    add(
        '--size', type=size_argument, metavar='N|native',
        help='resize the frames of networks to N × N, or keep their own size, and score every preset at it '
        "(default: frames as the config says, each preset at its customary size)",
    )  # fmt: skip
    add(
        '--maps', default='results/leaderboard', metavar='DIR',
        help='keeps the score maps (default: %(default)s)',
    )  # fmt: skip
    add('--device', metavar='DEV', help='cpu, cuda, … for score maps (default: a GPU if there is one)')
    add(
        '--jobs', type=int, default=1, metavar='N',
        help='score N methods at once, one thread each (default: 1)',
    )  # fmt: skip
    add(
        '--no-latency', action='store_true',
        help='measure no latency on the CPU; take it from an earlier --json file of that name, if there is one',
    )  # fmt: skip
    out = parser.add_argument_group('output')
    add = out.add_argument
    add('--relative-to', metavar='METHOD', help='also show the difference of every row to this one')
    add('--json', type=Path, metavar='FILE', help='everything, as plain ratios')
    add('--markdown', type=Path, metavar='FILE', help='a page with all tables')
    add(
        '--update-metafiles', action='store_true',
        help='enter the figures in configs/*/metafile.yml and README.md',
    )  # fmt: skip
    add(
        '--readme', type=Path, metavar='FILE',
        help='put the main tables of the metafiles between the markers in this file',
    )  # fmt: skip
    add('--grid', type=Path, metavar='FILE', help='a picture of the score maps, a column per method')
    add(
        '--curves', type=Path, metavar='STEM',
        help='learning curves of what was trained, validation IoU over epochs, as STEM.png and STEM.svg',
    )  # fmt: skip
    add('--images', nargs='+', default=[], metavar='NAME', help='its rows (default: four images with targets)')
    add_overwrite_option(out)
    parser.add_argument('--dry-run', action='store_true', help='list what there is and what would be done')
    return parser


def _write(
    rows: list[Row], published: list[Published], args: argparse.Namespace, protocols: list[Protocol], command: str
) -> None:
    from drpca.leaderboard.metafiles import measured_rows, published_figures, update_metafiles
    from drpca.leaderboard.page import block, insert_block, page
    from drpca.leaderboard.rows import to_json
    from drpca.version import versions

    if args.json:
        content = to_json(rows, protocols, {'command': command, 'versions': versions()})
        write_file(args.json, json.dumps(content, indent=1) + '\n')
    if args.markdown:
        write_file(args.markdown, page(rows, published, protocols, args.relative_to))
    if args.update_metafiles:
        for path in update_metafiles(rows):
            print(f'updated {path}', file=sys.stderr)
        for row in rows:
            if not row.model:
                print(f'note: {row.config} has no metafile: not entered', file=sys.stderr)
    if args.readme:
        link = None if args.markdown is None else _link(args.markdown, args.readme)
        try:
            text = args.readme.read_text(encoding='utf-8')
        except OSError as error:
            raise UserError(f'Cannot read {args.readme}: {error.strerror}.') from None
        tables = block(measured_rows(), published_figures(), link)
        write_file(args.readme, insert_block(text, tables, args.readme))


def _link(page: Path, readme: Path) -> str | None:
    """From a README to a page, where both are of one tree, its folder or this one, and so stay together."""
    page, above = page.resolve(), readme.resolve().parent
    here = Path.cwd()
    if not page.is_relative_to(above) and not (page.is_relative_to(here) and above.is_relative_to(here)):
        print(f'note: {readme} has no link to {page}, which lies outside of its folder and this one', file=sys.stderr)
        return None
    return Path(os.path.relpath(page, above)).as_posix()


def _check(args: argparse.Namespace) -> None:
    if args.source is not None and (args.methods or args.weights or args.classical or args.dataset):
        raise UserError('--from takes methods and data sets from the file: leave out METHOD, --dataset and the like.')
    if args.update_metafiles and set(args.protocol) != set(known_protocols()):
        raise UserError('--update-metafiles enters the figures of every preset: leave out --protocol.')
    if args.update_metafiles and (args.epochs or args.cfg_options):
        raise UserError(
            '--update-metafiles enters figures of the configs as they are: leave out --epochs and --cfg-options, or '
            'write a config of its own.'
        )
    if args.images and not args.grid:
        raise UserError('--images names the rows of the picture: give --grid FILE too.')
    if args.readme and not args.readme.is_file():
        raise UserError(f'--readme {args.readme}: no such file.')
    if not args.dry_run:
        # A table that was read may be written again; so may one whose latencies are taken over.
        read = [*(args.source or ()), *([args.json] if args.no_latency and args.json and not args.source else ())]
        claim_files(args, 'json', 'markdown', 'grid', own=read)
        if args.curves:
            if args.curves.is_dir():
                raise UserError(f'--curves {args.curves} is a folder: name the files without their suffixes.')
            from drpca.visualization.charts import SUFFIXES

            drawn = [args.curves.with_name(args.curves.name + suffix) for suffix in SUFFIXES]
            refuse_present(drawn, args.overwrite)


def _options(args: argparse.Namespace) -> LeaderboardOptions:
    from drpca.leaderboard.contenders import LeaderboardOptions

    return LeaderboardOptions(
        datasets=args.dataset,
        train=not args.no_train,
        protocols=args.protocol,
        progress=True,
        **{**keywords(LeaderboardOptions, args), 'executor': job_options(args)},
    )


def _check_contenders(found: Sequence[Contender], args: argparse.Namespace) -> None:
    """What would be found wrong only after hours of work."""
    from drpca.datasets import open_split
    from drpca.leaderboard.contenders import config_of, method_name
    from drpca.leaderboard.figures import choose_images

    splits = [open_split(contender.dataset, args.split, args.data_root) for contender in found]
    if args.relative_to:
        names = [name for c in found for name in (c.name, method_name(c, config_of(c)))]
        if args.relative_to.lower() not in map(str.lower, names):
            raise unknown_name('method to compare with (--relative-to)', args.relative_to, names)
    if args.images:
        choose_images(splits[0], args.images)


def _check_table(rows: Sequence[Row], protocols: Sequence[Protocol], args: argparse.Namespace) -> None:
    """Keeps figures of other settings out of the metafiles."""
    if not args.update_metafiles:
        return
    other = next((row for row in rows if row.options or ' --epochs ' in f'{row.command} '), None)
    if other:
        raise UserError(
            f'--update-metafiles enters figures of the configs as they are, but {other.config} was '
            f'made with other options ({other.command}).'
        )
    if {protocol.name for protocol in protocols} != set(known_protocols()):
        raise UserError('--update-metafiles enters the figures of every preset, and --from lacks some.')


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    _check(args)
    from drpca.engine.loop import Interrupted
    from drpca.leaderboard.build import build_rows, plan
    from drpca.leaderboard.contenders import contenders
    from drpca.leaderboard.figures import draw_curves, draw_maps
    from drpca.leaderboard.latency import keep_latency, measure_latency
    from drpca.leaderboard.metafiles import published_figures
    from drpca.leaderboard.page import LEFT, main_cells, main_preset
    from drpca.leaderboard.rows import RELATIVE_HEADER, load_table, load_tables, relative_rows
    from drpca.reports.plain_tables import text_table

    if args.source is not None:
        rows, protocols = load_tables(args.source)
        _check_table(rows, protocols, args)
    else:
        options = _options(args)
        protocols, found = options.presets, contenders(options)
        _check_contenders(found, args)
        if args.dry_run:
            print(plan(found, options))
            return 0
        try:
            rows = build_rows(found, options)
        except Interrupted as stop:
            print('Saved. Go on with the same command.', file=sys.stderr)
            return stop.exit_code
    if not args.no_latency:
        rows = measure_latency(rows, args.data_root, progress=True)
    elif args.json and args.json.is_file() and not args.source:
        rows = keep_latency(rows, load_table(args.json)[0])
    published = published_figures()
    main_name = main_preset(protocols)
    for dataset in dict.fromkeys(row.dataset for row in rows):
        group = [row for row in rows if row.dataset == dataset]
        header, cells = main_cells(group, published, main_name)
        plain = [[cell.replace('`', '').replace('**', '') for cell in line] for line in cells]
        print(f'\n{dataset} {group[0].split}, preset {main_name}\n{text_table(header, plain, LEFT)}\n')
        if args.relative_to:
            print(text_table(RELATIVE_HEADER, relative_rows(group, args.relative_to, main_name), left=2))
    command = ' '.join(['python tools/leaderboard.py', *(sys.argv[1:] if argv is None else argv)])
    _write(rows, published, args, protocols, command)
    if args.grid:
        main_protocol = next(p for p in protocols if p.name == main_name)
        draw_maps(rows, args.grid, main_protocol, args.images, args.data_root)
        print(f'wrote {args.grid}', file=sys.stderr)
    if args.curves:
        for path in draw_curves(rows, args.curves):
            print(f'wrote {path}', file=sys.stderr)
    failed = [(row, run) for row in rows for run in row.runs if run.state == 'failed']
    for row, run in failed:
        seed = '' if run.seed is None else f' seed {run.seed}'
        print(f'failed: {row.config} on {row.dataset}{seed}: {run.message}', file=sys.stderr)
    return EXIT_FAILED if failed else 0
