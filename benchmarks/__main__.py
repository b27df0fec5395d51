"""``make bench``: run every benchmark of this folder, one after another; exit 1 if a bar is missed."""

import sys

from benchmarks import speed

sys.exit(speed.main())
