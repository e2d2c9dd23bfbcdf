"""The preflight: all hosts are asked for facts, and what would make a run fail is reported.

`facts` has what is asked and answered. On each host, `python -m ptv2_scale.launchers.doctor
host_facts` answers with its own facts, then `... network_probe` connects it to all the others. On
the launching host `collect` asks them, and `report` runs the checks, for which no host is needed,
and makes the table.
"""
