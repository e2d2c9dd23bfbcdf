"""`ptv2-scale fetch`: what a recipe takes from the hub, once on each host, at one commit.

On each host `python -m ptv2_scale.launchers.fetch` answers a question; `words` are what goes back
and forth; `everywhere` asks all hosts, and `report` says what they have.
"""
