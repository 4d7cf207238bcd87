"""What is refused before a cluster is asked for anything."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from support import run, write_picture

pytest.importorskip("ray")

from moceir.cluster.job import Job, check_places, cluster, prepare
from moceir.cluster.pool import Size, places
from moceir.cluster.stores import Store
from moceir.errors import ClusterError, ConfigError, MissingExtraError, OutputError
from moceir.restoration import RestoreOptions


@pytest.mark.parametrize("library", ["ray", "fsspec", "pyarrow"])
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str) -> None:
    monkeypatch.setattr("moceir.errors.find_spec", lambda name: None if name == library else object())
    result = run("cluster", "restore", tmp_path, tmp_path / "out")
    assert result.exit_code == 1
    assert isinstance(result.exception, MissingExtraError)
    assert f"this needs {library}, which is not installed" in str(result.exception)
    assert "pip install 'moceir[cluster]'" in str(result.exception)


@pytest.mark.parametrize(("source", "target", "how"), [("in", "in/out", "lies inside"), ("in/a", "in", "holds")])
def test_results_never_become_inputs_or_replace_them(tmp_path: Path, source: str, target: str, how: str) -> None:
    write_picture(tmp_path / "in" / "a" / "1.png")
    with pytest.raises(ConfigError, match=f"{target} {how} the source .*{source}; give a target outside it"):
        check_places(Store(str(tmp_path / source)), Store(str(tmp_path / target)))
    check_places(Store(str(tmp_path / "in")), Store(str(tmp_path / "inside")))


def test_a_target_belongs_to_one_job(tmp_path: Path) -> None:
    for name in ("in/1.png", "other/2.png", "full/3.png"):
        write_picture(tmp_path / name)

    def asked(source: str = "in", target: str = "out", **options: object) -> Job:
        again = options.pop("list_again", False)
        return Job(str(tmp_path / source), str(tmp_path / target), RestoreOptions(**options), list_again=bool(again))

    def prepared(job: Job) -> int:
        return prepare(job, Store(job.source), Store(job.target), lambda _: None).pictures

    with pytest.raises(OutputError, match=r"full holds files that are not of this job, for example 3\.png"):
        prepared(asked(target="full"))
    assert prepared(asked(strength=0.5)) == 1
    assert prepared(asked(strength=0.5, memory_limit="1GB", device="cpu")) == 1
    with pytest.raises(ConfigError, match=r"results of another job \(strength is 1\.0, was 0\.5\); ask for the same"):
        prepared(asked())
    with pytest.raises(ConfigError, match=r"another job \(source is .*other, was .*in\)"):
        prepared(asked("other", strength=0.5))
    write_picture(tmp_path / "in" / "new.png")
    assert prepared(asked(strength=0.5)) == 1
    assert prepared(asked(strength=0.5, list_again=True)) == 2


def test_a_wrong_address_is_refused_at_once() -> None:
    began = time.monotonic()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "no-such-host.invalid:6379"):
            with (
                pytest.raises(ClusterError, match=f"no cluster answers at {address} .*ray start --head"),
                cluster(address),
            ):
                pass
    for address in ("head", "http://head:6379", "ray://head", "head:port"):
        with pytest.raises(ConfigError, match="is not the address of a cluster; write it as"), cluster(address):
            pass
    assert time.monotonic() - began < 60


def test_workers_that_fit() -> None:
    def node(alive: bool = True, **resources: float) -> dict[str, object]:
        return {"Alive": alive, "Resources": resources}

    nodes = [node(CPU=4, memory=10e9), node(CPU=3, GPU=1, memory=10e9), node(CPU=64, GPU=8, alive=False)]
    assert places(Size(1, 1), nodes) == 7
    assert places(Size(1, 1, cpus=2), nodes) == 3
    assert places(Size(1, 1, gpus=0.25), nodes) == 3
    assert places(Size(1, 1, memory=4_000_000_000), nodes) == 4
    assert places(Size(1, 1, cpus=8), nodes) == 0


@pytest.mark.parametrize("actors", ["0", "3:2", "many", "-1", "1:2:3", ""])
def test_numbers_of_workers(tmp_path: Path, actors: str) -> None:
    write_picture(tmp_path / "in" / "1.png")
    result = run("cluster", "restore", tmp_path / "in", tmp_path / "out", "--actors", actors)
    assert result.exit_code == 2
    assert "is not a number of workers; write it as 4, or as 2:16" in " ".join(result.stderr.replace("│", " ").split())
