"""`python -m tekton` is the command `tekton`."""

import sys

from tekton.cli import main

sys.exit(main())
