"""`python -m ptv2_scale`, and `deepspeed --module ptv2_scale`."""

import sys

from ptv2_scale.cli import main

sys.exit(main())
