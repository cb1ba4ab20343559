"""``python -m drpca``."""

import sys

from drpca.cli.main import main

sys.exit(main())
