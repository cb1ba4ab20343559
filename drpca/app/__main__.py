"""``python -m drpca.app``."""

import sys

from drpca.app.command import main

sys.exit(main())
