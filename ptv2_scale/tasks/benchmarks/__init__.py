"""Published benchmarks, as declarations."""
