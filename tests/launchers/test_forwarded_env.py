"""Which variables other hosts get, which of them are secrets, and what `.deepspeed_env` adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale.cli import main
from ptv2_scale.launchers.forwarded_env import (
    Variables,
    forwarded_env,
    is_secret,
    read_deepspeed_env,
)
from ptv2_scale.runtime.errors import UserError


def test_what_travels(tmp_path: Path) -> None:
    environ = {"NCCL_DEBUG": "INFO", "PATH": "/x", "HOME": "/x", "HF_TOKEN": "t", "MY_OWN": "1",
               "WANDB_API_KEY": "k", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "1",
               "HF_ENDPOINT": "https://me:pw@mirror", "NCCLX": "1"}  # fmt: skip
    found = forwarded_env(environ, tmp_path, tmp_path)
    assert dict(found.shown) == {"NCCL_DEBUG": "INFO", "TOKENIZERS_PARALLELISM": "false"}
    assert set(found.secret) == {"HF_TOKEN", "WANDB_API_KEY", "HF_ENDPOINT"}
    assert is_secret("DB_PASSWORD", "")
    assert is_secret("aws_secret_access_key", "")
    assert not is_secret("TOKENIZERS_PARALLELISM", "")


def test_ranks_do_not_ask_the_hub_unless_the_user_says_so() -> None:
    assert Variables({}).offline().shown == {"HF_HUB_OFFLINE": "1"}
    assert Variables({"HF_HUB_OFFLINE": "0"}).offline().shown == {"HF_HUB_OFFLINE": "0"}


def test_deepspeed_env(tmp_path: Path) -> None:
    path = tmp_path / ".deepspeed_env"
    path.write_text("# mine\n\nNCCL_IB_HCA=mlx5_0,mlx5_1\nexport A='x y'\nB=$HOME=1\nEMPTY=\n")
    wanted = {"NCCL_IB_HCA": "mlx5_0,mlx5_1", "A": "x y", "B": "$HOME=1", "EMPTY": ""}
    assert read_deepspeed_env(path) == wanted
    assert dict(forwarded_env({}, tmp_path, tmp_path).shown) == wanted
    other = tmp_path / "other"
    path.rename(other)
    assert dict(forwarded_env({"DS_ENV_FILE": str(other)}, tmp_path, tmp_path).shown) == wanted


@pytest.mark.parametrize("line", ["no equals sign hf_secret", "1A=2", "A B=2", "=2", "$(x)=1"])
def test_a_bad_line_of_deepspeed_env_is_named_and_not_shown(line: str, tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text(f"OK=1\n{line}\n")
    with pytest.raises(UserError, match=r"env:2: expected NAME=VALUE\.$"):
        read_deepspeed_env(path)


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("HF_TOKEN=hf_verysecret\n")
    path.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600") as refused:
        read_deepspeed_env(path)
    assert "hf_verysecret" not in str(refused.value)
    path.chmod(0o600)
    assert read_deepspeed_env(path) == {"HF_TOKEN": "hf_verysecret"}


@pytest.mark.parametrize("name", ["DS_ACCELERATOR", "CUDA_VISIBLE_DEVICES"])
def test_what_this_host_computes_on_stays_here(name: str, tmp_path: Path) -> None:
    assert not forwarded_env({name: "cpu"}, tmp_path, tmp_path).shown
    (tmp_path / ".deepspeed_env").write_text(f"{name}=cpu\n")
    assert forwarded_env({name: "0"}, tmp_path, tmp_path).shown == {name: "cpu"}


@pytest.mark.parametrize("where", ["--hostfile HOSTS", "--slurm --nodes 2"])
def test_a_launch_says_that_the_accelerator_stays_here(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hosts").write_text("n1 slots=1\nn2 slots=1\n")
    words = ["launch", "demo", "--dry-run", f"run={tmp_path / 'run'}"]
    words += where.replace("HOSTS", str(tmp_path / "hosts")).split()
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "DS_ACCELERATOR" not in out
    assert "DS_ACCELERATOR=cpu is for this host and does not travel" in err
    monkeypatch.delenv("DS_ACCELERATOR")
    assert main(words) == 0
    assert "DS_ACCELERATOR" not in "".join(capsys.readouterr())


def test_a_launch_on_this_host_has_nothing_to_say_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert main(["launch", "demo", "--nproc", "1", "--dry-run", f"run={tmp_path / 'run'}"]) == 0
    assert "DS_ACCELERATOR" not in capsys.readouterr().err
