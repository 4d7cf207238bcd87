"""Training on two machines: torchrun on loopback, one machine lost, and the command given again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from support import write_photographs

from moceir.data.packs import write_pack

RECIPE: dict[str, Any] = {
    "model": "nano",
    "steps": 24,
    "epoch_steps": 3,
    "stages": [{"share": 1, "patch_px": 16, "batch": 4}],
    "tasks": {"noise": 1, "low_light": 1},
    "optimizer": {"lr": 1.0e-3},
    "validation": {"share": 0.25, "patch_px": 16, "most": 2},
}
DEADLINE_S = 900


class Machine:
    """One of two torchruns, as it would be started on each of two machines."""

    def __init__(self, number: int, port: int, pack: Path, folder: Path) -> None:
        launch = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(number)]
        launch += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
        train = ["-m", "moceir", "train", folder / "recipe.yaml", "--data", pack.as_uri(), "-o", folder / "run"]
        train += ["--nodes", "2", "--device", "cpu", "--resume"]
        self.log = folder / f"machine-{number}-{time.monotonic_ns()}.log"
        environment = os.environ | {"MOCEIR_CACHE": str(folder / f"cache-{number}"), "OMP_NUM_THREADS": "1"}
        environment["GLOO_SOCKET_IFNAME"] = "lo"
        with self.log.open("wb") as log:
            command = [sys.executable, *map(str, launch), *map(str, train)]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def lose(self) -> None:
        """Kill everything on the machine at once."""
        everything = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        for process in everything:
            process.kill()
        self.process.wait()

    def finish(self, until: float) -> None:
        assert self.process.wait(max(until - time.monotonic(), 1)) == 0, self.log.read_text()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def prepared(folder: Path) -> Path:
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    return folder


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_a_machine_that_is_lost_and_comes_back_changes_nothing(tmp_path: Path) -> None:
    photographs = write_photographs(tmp_path / "photographs")
    pack = tmp_path / "photographs.pack"
    write_pack({path.name: path for path in photographs.iterdir()}, pack)
    until = time.monotonic() + DEADLINE_S

    whole = prepared(tmp_path / "whole")
    port = free_port()
    for machine in [Machine(number, port, pack, whole) for number in (0, 1)]:
        machine.finish(until)

    cut = prepared(tmp_path / "cut")
    port = free_port()
    first, second = (Machine(number, port, pack, cut) for number in (0, 1))
    try:
        last = cut / "run" / "checkpoints" / "last.ckpt"
        while not last.exists():
            assert time.monotonic() < until, first.log.read_text()
            assert first.process.poll() is None, first.log.read_text()
            time.sleep(0.02)
        second.lose()
        assert not (cut / "run" / "best").exists(), "it was lost too late"
        assert first.process.wait(max(until - time.monotonic(), 1)) != 0
        port = free_port()
        first, second = (Machine(number, port, pack, cut) for number in (0, 1))
        first.finish(until)
        second.finish(until)
    finally:
        for machine in (first, second):
            if machine.process.poll() is None:
                machine.lose()
    ours, theirs = weights_of(cut), weights_of(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    for folder in (whole, cut):
        assert (folder / "run" / "best" / "model.safetensors").exists()
        assert [len(list((folder / f"cache-{number}").glob("*.pack"))) for number in (0, 1)] == [1, 1]
