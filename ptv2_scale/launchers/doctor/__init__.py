"""The preflight: every host is asked what it is and has, and what ranks would stumble over is told.

`facts`: what is asked and answered. On each host, `python -m ptv2_scale.launchers.doctor look`
answers with its own facts, then `... meet` connects it to all the others. On the launching host
`visit` asks, `judge` compares (no host is needed for that), and `report` shows the table.
"""
