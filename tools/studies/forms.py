"""Times forms of networks in turn, by the clock and by processor time, which other processes disturb less.

    python tools/studies/forms.py RPCANet LRRNet
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python tools/studies/forms.py RPCANet --forms winograd onnxruntime

The second line holds PyTorch and oneDNN, and so Winograd's kernel, to AVX2 on a processor that has more; it does not
hold ONNX Runtime, which asks the processor itself. Weights are random; a cell is the median over rounds of the ratio
to the plain eager forward of the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from drpca.deploy.processor import machine
from drpca.deploy.variants import VARIANTS, check_variant, export_variant, variant_function
from drpca.models.detector import DetectionModel
from drpca.options import BASELINE
from drpca.reports.plain_tables import text_table

CPU = torch.device('cpu')


@torch.inference_mode()
def ratios(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Speed over the first function, by the clock and by processor time of all threads."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            started, spent = time.perf_counter(), time.process_time()
            function()
            times[name].append((time.perf_counter() - started, time.process_time() - spent))
    first = next(iter(times.values()))
    return {
        name: tuple(statistics.median(own[0][kind] / own[1][kind] for own in zip(first, values)) for kind in (0, 1))
        for name, values in times.items()
    }


def main(argv: list[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('networks', nargs='+')
    parser.add_argument('--forms', nargs='+', choices=VARIANTS, metavar='FORM', default=['optimised', 'winograd'])
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--size', type=int, default=256)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    print(machine(), flush=True)
    order = list(dict.fromkeys([BASELINE, *args.forms]))
    for network in args.networks:
        rows = []
        torch.manual_seed(0)
        model, image = DetectionModel({'type': network}).eval(), torch.rand(1, 1, args.size, args.size)
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            functions: dict[str, Callable[[], torch.Tensor]] = {}
            for form in order:
                check_variant(form, CPU)
                if 'backend' in VARIANTS[form]:
                    export_variant(model, form, args.size, Path(folder))
                functions[form] = partial(variant_function(model, form, CPU, Path(folder)), image)
            plain = functions[BASELINE]()
            for form, (clock, processor) in ratios(functions, args.rounds).items():
                error = float((functions[form]() - plain).abs().max() / plain.abs().max().clamp(min=1))
                rows.append([network, form, f'{clock:.2f}', f'{processor:.2f}', f'{error:.1e}'])
        header = ['network', 'form', 'by the clock', 'by processor time', 'largest error']
        print(text_table(header, rows, 2), flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
