"""Networks as ONNX, OpenVINO or torch.export files: ``python tools/export.py --help``."""

import sys

from drpca.cli.export import main

if __name__ == '__main__':
    sys.exit(main())
