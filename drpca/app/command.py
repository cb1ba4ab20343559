"""``python -m drpca.app``: a local page to try detectors on."""

from __future__ import annotations

import argparse
import socket
import sys
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

from drpca.cli.common import command_parser
from drpca.cli.guard import guarded
from drpca.errors import UserError

DESCRIPTION = """\
Open a page to try detectors on: choose weights, drop an image or pick a sample, see the background B, the target T,
the noise N and the reconstruction D stage by stage, move the threshold, download the results.

The page offers the runs under --checkpoints (best.pth of every seed), the files given with --weights, published
weights that have been fetched (drpca weights), and the classical methods, which need no weights. Its samples come from
the data sets under --data-root and from the synthetic generator. It answers this machine alone unless --host says
otherwise, and fetches nothing from outside."""

EXAMPLES = """\
  python -m drpca.app
  python -m drpca.app --weights rpcanet_sirstv1=published
  python -m drpca.app --checkpoints runs/ --data-root /data --port 8000 --no-browser"""

CHECKPOINTS = 'checkpoints'


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('python -m drpca.app', DESCRIPTION, EXAMPLES, done='stopped')
    add = parser.add_argument
    add('--host', default='127.0.0.1', metavar='H', help='address to answer on (default: %(default)s)')
    add('--port', type=port_argument, default=7860, metavar='N', help='default: %(default)s')
    add('--checkpoints', metavar='DIR', help=f'folder of the runs trained here (default: {CHECKPOINTS})')
    add(
        '--weights', nargs='+', default=[], metavar='CONFIG=FILE',
        help='weight files, each with the config it belongs to; CONFIG=published, or published for all, fetches those '
        'of the authors',
    )  # fmt: skip
    add('--data-root', metavar='DIR', help='folder of the data sets (default: $DRPCA_DATA, else datasets)')
    add(
        '--max-upload-mb', type=megabytes_argument, default=20, metavar='N',
        help='largest image file that is taken (default: %(default)s)',
    )  # fmt: skip
    add('--no-browser', action='store_true', help='do not open the page in a browser')
    return parser


def port_argument(text: str) -> int:
    """A port number, for argparse."""
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f'expected a port from 1 to 65535, got {text!r}')
    return int(text)


def megabytes_argument(text: str) -> int:
    """A whole number of megabytes, for argparse."""
    if not text.isdigit() or not 0 < int(text) <= 1024:
        raise argparse.ArgumentTypeError(f'expected a whole number of megabytes from 1 to 1024, got {text!r}')
    return int(text)


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == 'localhost'


def check_free(host: str, port: int) -> None:
    """Raises a :class:`UserError` where the server could not listen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            listener.bind(address)
            listener.listen()
    except OSError as error:
        raise UserError(
            f'Cannot listen on {host} port {port}: {error.strerror}. Choose another --port or --host.'
        ) from None


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    if find_spec('nicegui') is None:
        raise UserError('The page needs the package nicegui: pip install nicegui.')
    checkpoints = Path(args.checkpoints or CHECKPOINTS)
    if args.checkpoints and not checkpoints.is_dir():
        raise UserError(f'--checkpoints {checkpoints} is not a folder.')
    from drpca.app.choices import DetectorStore, list_choices
    from drpca.app.samples import list_samples

    store = DetectorStore(list_choices(checkpoints, args.weights))
    check_free(args.host, args.port)
    samples = list_samples(args.data_root)
    from drpca.app.server import serve

    if not is_loopback(args.host):
        print(
            f'warning: --host {args.host} lets everyone who reaches this machine use the page; it has no password.',
            file=sys.stderr,
        )
    serve(
        store, samples, host=args.host, port=args.port, loopback=is_loopback(args.host),
        max_upload=args.max_upload_mb * 2**20, show=not args.no_browser,
    )  # fmt: skip
    return 0
