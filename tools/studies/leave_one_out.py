"""Fine-tunes a network of windows on all but one of some labelled sequences, scores it on that one, and so on.

    python tools/studies/leave_one_out.py tensor_rpcanet_synthetic_sequence --input sequences/ --json one_out.json
    python tools/sequences.py --table one_out.json

Each training starts from the weights of the project (--checkpoint: from others) and goes on as the config says, with
crops of the other sequences instead of its own data, for a number of epochs set beforehand. Its last weights are taken:
nothing is chosen on the sequence that is left out. The pixels around a point, --radius to each side, are its target.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import drpca
from drpca.cards import weight_cards
from drpca.cli.guard import guarded
from drpca.cli.sequences import table
from drpca.datasets.sequences import check_apart, find_sequences
from drpca.errors import UserError
from drpca.files import refuse_present, save_text
from drpca.json_file import plain
from drpca.studies.sequence_scores import ALL, SequenceScore, score_sequences


def start_weights(config: str, checkpoint: Path | None) -> Path:
    """The weights that a training starts from."""
    card = weight_cards().get(config)
    if checkpoint is None and card is None:
        raise UserError(f'{config} has no weights of the project: give --checkpoint FILE.')
    return checkpoint or card.check()  # type: ignore[union-attr]


def fine_tune(args: argparse.Namespace, left_out: str) -> str:
    """The weights of a training without one sequence."""
    folder = Path(args.input).resolve()
    source = {'dataset': folder.name, 'data_root': str(folder.parent), 'split': 'all', 'without': [left_out]}
    options = {f'train_dataloader.dataset.{key}': value for key, value in source.items()}
    options |= {'train_dataloader.dataset.point_radius': args.radius, 'optim_wrapper.optimizer.lr': args.lr}
    result = drpca.train(
        args.config, final=True, resume=True, epochs=args.epochs, work_dir=Path(args.work_dir) / f'without_{left_out}',
        load_from=start_weights(args.config, args.checkpoint), cfg_options=options,
    )  # fmt: skip
    return result.checkpoint


@guarded
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('config', help='of a network of windows')
    add('--input', required=True, metavar='DIR', help='folder of labelled sequences, at least two')
    add('--checkpoint', type=Path, metavar='FILE', help='weights to start from')
    add('--epochs', type=int, default=20, metavar='N', help='of every training (default: %(default)s)')
    add('--lr', type=float, default=1e-3, help='learning rate (default: %(default)s)')
    add('--radius', type=int, default=1, metavar='PX', help='around a point (default: %(default)s)')
    add('--limit', type=int, metavar='N', help='score the first N frames only')
    add('--work-dir', default='checkpoints', metavar='DIR', help='where runs are kept; they can be resumed')
    add('--json', metavar='FILE', help='all figures, for tools/sequences.py --table')
    add('--overwrite', action='store_true', help='replace that file')
    args = parser.parse_args(argv)
    sequences = {sequence.name: [sequence] for sequence in find_sequences(args.input)}
    if len(sequences) < 2:
        raise UserError(f'{args.input} holds one sequence: expected at least two.')
    check_apart(Path(args.input), sequences)
    refuse_present([Path(args.json)] if args.json else [], args.overwrite)
    scores: list[SequenceScore] = []
    for name in sequences:
        detector = drpca.Detector(args.config, fine_tune(args, name))
        scores += score_sequences(
            detector, args.input, names=[name], limit=args.limit, confirm=(3, 5), candidate_threshold=0.22
        )[:1]
    print(table(scores))
    if args.json:
        # Six networks have no threshold in common: there are no figures of all.
        frames, targets = (sum(getattr(score, of) for score in scores) for of in ('frames', 'targets'))
        seconds = sum(score.seconds for score in scores) / len(scores)
        whole = SequenceScore(ALL, frames, targets, math.nan, seconds, {})
        save_text(
            Path(args.json),
            json.dumps([plain(asdict(score)) for score in [*scores, whole]], indent=1) + '\n',
            args.overwrite,
        )
    return 0


if __name__ == '__main__':
    sys.exit(main())
