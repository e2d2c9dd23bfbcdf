"""Starting ranks on hosts and supervising them: processes, signals, files; nothing of torch.

`api.launch` takes `options.LaunchOptions`, finds a backend by name, and returns a
`result.LaunchResult`; what happens in between it reports as `events`.

- `backends/`: one file for each way to reach hosts (local, ssh, pdsh, slurm) and for each launcher
  of one host's ranks (deepspeed, torchrun, accelerate); `registry` has them by name.
- `spec`: what runs on each host, as pure functions. `supervise`: it is started, and started again
  after failures (`restarts`). `start`: one start, heard through `log_merger`.
- `node_agent`: the program that runs on each host, and supervises its ranks there.
- `hosts`, `hostfile`, `remote`, `forwarded_env`, `host_failure`: which hosts, how they are reached,
  which variables they get, why one did not answer. `rank_group`: all ranks, and where they meet.
- `slurm_script`, `slurm_text`, `array`: the batch script, and the runs of a job array.
- `doctor/`: hosts are checked before a start. `fetch/`: the hub's files on each host.
  `recipe_inputs`: what a recipe reads, for both. `devices`: this host's accelerators.
"""
