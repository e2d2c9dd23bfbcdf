"""`ptv2-scale fetch`: what a recipe takes from the hub, once on each host, at one commit.

On each host `python -m ptv2_scale.launchers.fetch` answers a request; `protocol` has requests and
messages; `everywhere` asks all hosts, and `report` shows what they have.
"""
