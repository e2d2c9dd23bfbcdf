"""`python -m ptv2_scale`, and `deepspeed --module ptv2_scale`."""

from ptv2_scale.cli import run

run()
