"""What the doctor makes of facts that test hosts cannot have: GPUs, other clocks, slow networks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptv2_scale.cli import main
from ptv2_scale.hub import HubItem
from ptv2_scale.launchers.doctor.collect import HostSurvey
from ptv2_scale.launchers.doctor.contents import facts_of_path
from ptv2_scale.launchers.doctor.facts import (
    Gpu,
    HostFacts,
    HostInterface,
    Limits,
    PathFacts,
    ProbeResult,
    RunFolder,
    dump,
    parse,
)
from ptv2_scale.launchers.doctor.finding import Finding, SurveyResult, named
from ptv2_scale.launchers.doctor.reachability import interface_toward
from ptv2_scale.launchers.doctor.report import exit_code, run_checks, summary, table
from ptv2_scale.launchers.forwarded_env import Variables
from ptv2_scale.launchers.hosts import Hosts
from ptv2_scale.launchers.remote import LocalHost
from ptv2_scale.runtime.matmul_rates import MatmulRates

GB = 10**9
H100 = Gpu("H100", 80 * GB, 79 * GB)
WELL = HostFacts(
    machine="1",
    system="Linux x86_64",
    python="3.12.1",
    packages={"torch": "2.9.0", "deepspeed": "0.19.8"},
    paths={"backbone": PathFacts("d", 20 * GB, "i")},
    hub=["c0ffee"],
    run=RunFolder("/runs", "", 900 * GB, 10**6),
    memory=500 * GB,
    gpus=[H100, H100],
    interface=HostInterface("ib0", "10.0.0.1"),
    limits=Limits(65536, None, 64 * GB, True, 50 * GB),
    bf16=True,
    rates=MatmulRates(bf16=7e14, fp32=5e13),
)
HOSTS = ("n1", "n2", "n3", "n4")


def probed(**changes: object) -> ProbeResult:
    values = {
        "unreached": {},
        "rendezvous_problem": "",
        "clock": dict.fromkeys(HOSTS[1:], 0.0),
        "bandwidth": 3e9,
        "reverse_dns": 0.01,
        "sees": list(HOSTS),
    }
    return ProbeResult(**{**values, **changes})  # type: ignore[arg-type]


SURVEY = SurveyResult(
    slots=dict.fromkeys(HOSTS, 2),
    paths={"backbone": "/models/glm-10b"},
    hub=(HubItem("model", "some/tokenizer"),),
    run="runs/one",
    dtype="auto",
    facts={host: replace(WELL, machine=host) for host in HOSTS},
    probed={host: probed() for host in HOSTS},
)


def with_facts(**changes: object) -> list[Finding]:
    """What is found where the third host has other facts."""
    facts = {**SURVEY.facts, "n3": replace(WELL, machine="n3", **changes)}
    return run_checks(replace(SURVEY, facts=facts))


def with_probed(host: str, **changes: object) -> list[Finding]:
    return run_checks(replace(SURVEY, probed={**SURVEY.probed, host: probed(**changes)}))


def the(level: str, findings: list[Finding]) -> Finding:
    """The only finding of a level; all others are well."""
    (one,) = [one for one in findings if one.level == level]
    assert all(other.level == "ok" for other in findings if other is not one), findings
    return one


def test_well_hosts() -> None:
    findings = run_checks(SURVEY)
    assert {one.level for one in findings} == {"ok"}
    assert exit_code(findings) == 0
    assert len({one.check for one in findings}) == 15


@pytest.mark.parametrize(
    ("changes", "level", "check", "text"),
    [
        ({"python": "3.11.2"}, "FAIL", "python", "n3: 3.11.2, Linux x86_64, where others have"),
        ({"packages": {"torch": "2.9.0"}}, "FAIL", "packages", "n3: deepspeed unknown, where"),
        ({"paths": {"backbone": PathFacts("e", GB, "i")}}, "FAIL", "backbone",
         "n3: /models/glm-10b: other contents (1 GB) than elsewhere (20 GB)"),
        ({"paths": {"backbone": PathFacts(problem="Permission denied")}}, "FAIL", "backbone",
         "n3: /models/glm-10b: Permission denied"),
        ({"paths": {"backbone": PathFacts("d", 20 * GB, "j")}}, "note", "backbone", "its own copy"),
        ({"hub": [None]}, "FAIL", "hub", "n3: not, or not whole, in the cache of the hub"),
        ({"hub": ["beef"]}, "FAIL", "hub", "n3: some/tokenizer at commit beef, where others"),
        ({"run": RunFolder("/runs", "", 10**7, None)}, "FAIL", "disk", "n3: 10 MB left"),
        ({"run": RunFolder("/runs", "", 900 * GB, 3)}, "FAIL", "disk", "n3: room for 3 more"),
        ({"memory": GB}, "warn", "memory", "n3: 1 GB for 2 ranks"),
        ({"gpus": [H100, Gpu("H100", 80 * GB, 9 * GB)]}, "warn", "accelerators",
         "n3: 9 GB of 80 GB free on GPU 1"),
        ({"gpus": [Gpu("A100", 40 * GB, 40 * GB)] * 2}, "warn", "accelerators",
         "2 x A100 with 40 GB (n3)"),
        ({"limits": replace(WELL.limits, open_files=256)}, "warn", "limits", "n3: 256 open files"),
        ({"limits": replace(WELL.limits, locked_memory=65536)}, "warn", "limits",
         "n3: InfiniBand, but only 65.5 KB of locked memory"),
        ({"limits": replace(WELL.limits, shared_memory=64 * 10**6)}, "warn", "limits",
         "n3: 64 MB of shared memory"),
        ({"limits": replace(WELL.limits, temporary=None)}, "warn", "limits", "n3: no room for"),
        ({"rates": MatmulRates(bf16=8e8, fp32=7e10)}, "warn", "dtype",
         "n3: bf16 computes at 0.8 GFLOP/s, fp32 at 70"),
        ({"bf16": False}, "note", "dtype", "n3: no units for bf16, so all ranks take fp32"),
        ({"interface": HostInterface("ib7", "", "GLOO_SOCKET_IFNAME", "no interface fits")}, "FAIL",
         "interface", "n3: no interface fits"),
    ],
)  # fmt: skip
def test_one_host_is_not_like_the_others(
    changes: dict[str, object], level: str, check: str, text: str
) -> None:
    found = the(level, with_facts(**changes))
    assert found.check == check
    assert text in found.text
    assert found.fix or level == "note"
    assert exit_code([found]) == (2 if level == "FAIL" else 0)


def test_a_host_with_too_few_gpus() -> None:
    failed = [one for one in with_facts(gpus=[]) if one.level == "FAIL"]
    assert [one.text for one in failed] == ["n3: 0 can be seen, for 2 ranks"]


def test_what_the_launching_host_has_counts_too() -> None:
    found = the("FAIL", run_checks(replace(SURVEY, local={"backbone": "older"})))
    assert "other contents on the hosts than here" in found.text


@pytest.mark.parametrize(
    ("host", "changes", "level", "text"),
    [
        ("n2", {"unreached": {"n3": "10.0.0.3 port 1: no answer"}}, "FAIL",
         "n2 cannot reach n3: 10.0.0.3 port 1: no answer"),
        ("n4", {"rendezvous_problem": "the name 'n1' is not known there"}, "FAIL",
         "n4: the name 'n1' is not known there"),
        ("n1", {"clock": {"n2": 0.0, "n3": -61.3}}, "warn", "n3: 61.3 s behind n1"),
        ("n2", {"reverse_dns": 2.1}, "warn", "n2: looking up the name of another host's address"),
        ("n2", {"bandwidth": 1e8}, "warn", "100 MB/s or more to the next host, least from n2,"),
    ],
)  # fmt: skip
def test_networks(host: str, changes: dict[str, object], level: str, text: str) -> None:
    found = the(level, with_probed(host, **changes))
    assert text in found.text
    assert found.fix


def test_who_shares_the_run_directory() -> None:
    apart = {"n3": probed(sees=["n3", "n4"]), "n4": probed(sees=["n3", "n4"])}
    findings = run_checks(replace(SURVEY, probed={**SURVEY.probed, **apart}))
    assert "not shared (n1, n2 | n3, n4)" in the("note", findings).text


def test_what_gathering_the_backbone_costs() -> None:
    (line,) = [
        one for one in run_checks(replace(SURVEY, gathered=True)) if one.check == "bandwidth"
    ]
    # 2 x 20 GB x 3/4 at 3 GB/s
    assert "about 10 s of each micro-batch" in line.text
    assert "zero3_hpz" in line.text


def test_many_hosts_are_not_all_named() -> None:
    names = [f"n{number}" for number in range(100)]
    assert named(names) == "n0, n1, n2, n3, n4, n5, n6, n7 and 92 more"
    assert named(names[:8]) == "n0, n1, n2, n3, n4, n5, n6, n7"


def test_answers_travel_as_they_are() -> None:
    for value in (WELL, probed(unreached={"n2": "no"}), replace(WELL, gpus=[], run=None)):
        assert parse(type(value), b"motd of the day\n" + dump(value) + b"\n") == value
    assert parse(HostFacts, b"") is None
    assert parse(HostFacts, b'{"python": "3"}') is None


def test_a_copy_cut_short_shows(tmp_path: Path) -> None:
    content = bytes(range(256)) * (1 << 16)  # 16 MiB, more than is read whole
    for name in ("one", "same", "sparse", "short"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
        (tmp_path / name / "README.md").write_text(name)  # which nobody reads
    with (tmp_path / "sparse" / "model.safetensors").open("r+b") as file:
        file.seek(9 << 20)
        file.write(bytes(2 << 20))
    (tmp_path / "short" / "model.safetensors").write_bytes(content[:-1])
    one, same, sparse, short = (
        facts_of_path(tmp_path / name) for name in ("one", "same", "sparse", "short")
    )
    assert one.digest == same.digest
    assert one.identity != same.identity
    assert len({one.digest, sparse.digest, short.digest}) == 3
    assert facts_of_path(tmp_path / "none").problem == "No such file or directory"


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"NCCL_SOCKET_IFNAME": "=lo"}, ""),
        ({"NCCL_SOCKET_IFNAME": "nonesuch,lo"}, ""),
        ({"NCCL_SOCKET_IFNAME": "^nonesuch"}, ""),
        ({"NCCL_SOCKET_IFNAME": "=l"}, "no interface fits NCCL_SOCKET_IFNAME==l; there are"),
        ({"GLOO_SOCKET_IFNAME": "lo"}, ""),
        ({"GLOO_SOCKET_IFNAME": "nonesuch"}, "no interface fits GLOO_SOCKET_IFNAME=nonesuch"),
    ],
)
def test_interfaces_that_the_user_has_chosen(variables: dict[str, str], problem: str) -> None:
    found = interface_toward("127.0.0.1", variables)
    assert found.problem.startswith(problem)
    assert bool(found.problem) == bool(problem)
    assert found.address or problem


def test_a_name_that_nobody_knows() -> None:
    assert (
        "no interface leads to no-such-host.invalid"
        in interface_toward("no-such-host.invalid", {}).problem
    )


def of_subset(answered: Collection[str], probed_hosts: Collection[str]) -> SurveyResult:
    """The survey as it is where other hosts do not answer."""
    lost = {
        host: Finding("reached", "FAIL", f"{host}: cannot be reached", "See.", lost=True)
        for host in HOSTS
        if host not in answered or host not in probed_hosts
    }
    return replace(
        SURVEY,
        silent=lost,
        facts={host: one for host, one in SURVEY.facts.items() if host in answered},
        probed={
            host: probed(clock=dict.fromkeys(set(probed_hosts) - {host}, 0.0))
            for host in HOSTS
            if host in answered and host in probed_hosts
        },
    )


@given(st.sets(st.sampled_from(HOSTS)), st.sets(st.sampled_from(HOSTS)))
def test_a_table_of_any_hosts(answered: set[str], probed_hosts: set[str]) -> None:
    survey = of_subset(answered, probed_hosts & answered)
    findings = run_checks(survey)
    lines = table(findings).splitlines()
    for host in survey.silent:
        assert any(
            line.startswith("FAIL") and f"{host}: cannot be reached" in line for line in lines
        )
    assert exit_code(findings) == (3 if survey.silent else 0)
    claimed = "all hosts see the same" in table(findings)
    assert claimed == (bool(answered) and probed_hosts >= answered)
    hosts = Hosts(LocalHost(), survey.slots, Variables({}), "n1")
    assert summary(findings, HostSurvey(hosts, "n1", 1), 0.0).startswith("4 hosts, ")


def test_no_finding_makes_an_empty_table() -> None:
    assert table([]) == ""
    assert exit_code([]) == 0


@pytest.fixture
def unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hostfile of one host, and an ssh that reaches none, as ssh says it."""
    fake = tmp_path / "bin" / "ssh"
    fake.parent.mkdir()
    said = "ssh: Could not resolve hostname nodea: Name or service not known"
    fake.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 255\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    hosts = tmp_path / "hosts"
    hosts.write_text("nodeA slots=8\nnodeB slots=8\n")
    return str(hosts)


@pytest.mark.parametrize("command", ["doctor", "launch"])
def test_no_host_answers(
    command: str, unreachable: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [command, "demo", f"run={tmp_path / 'run'}", "--hostfile", unreachable]
    if command == "launch":
        words += ["--transport", "ssh"]
    assert main([*words, "train.global_batch=16", "train.micro_batch=1"]) == 3
    out, err = capfd.readouterr()
    for host in ("nodeA", "nodeB"):
        assert f"FAIL reached {host}: this name is not known here" in " ".join((out + err).split())
    assert "2 hosts, 2 to be fixed first" in out + err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_fetch_names_hosts_that_do_not_answer(
    unreachable: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["fetch", "demo", "backbone.name=gpt2", "--hostfile", unreachable]
    assert main(words) == 3
    assert "nodeA, nodeB: this name is not known here" in capfd.readouterr().err
