"""`python -m gpuwarden.cli`, for where the command is not on the path."""

import sys

from gpuwarden.cli.main import main

sys.exit(main())
