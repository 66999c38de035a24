"""`python -m deploy` is `witness`."""

import sys

from deploy.cli import main

sys.exit(main())
