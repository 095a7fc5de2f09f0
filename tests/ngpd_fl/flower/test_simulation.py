"""The real thing: `flwr run` on Ray, with a SuperLink of the test session's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ngpd_fl import Config, InputError, RunFolder, run, run_flower
from ngpd_fl.flower.events import Event, FailureEvent, RoundEvent, read_event
from ngpd_fl.flower.launcher.app_bundle import write_app
from ngpd_fl.flower.launcher.run import RunFailed
from ngpd_fl.flower.launcher.superlink import SuperLink
from tests.support.deployment import PROXIES, family
from tests.support.flower import faulty_app

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def superlink() -> Iterator[SuperLink]:
    with SuperLink() as started:
        yield started


def config(strategy: str, schedule: str = "static", **sections: Any) -> Config:
    values: dict[str, Any] = {
        "strategy": strategy,
        "topology": {"name": "ring", "nodes": 8, "schedule": schedule},
        "training": {"rounds": 5, "local_steps": 2},
        "engine": {"dtype": "float64", "device": "cpu"},
    }
    return Config(**values | sections)


ALL = [
    (strategy, schedule, nodes_per_client)
    for strategy in ("ngpd", "dsgd")
    for schedule in ("static", "matching")
    for nodes_per_client in (1, 4)
]


@pytest.mark.parametrize(
    ("strategy", "schedule", "nodes_per_client"),
    [pytest.param(*each, marks=[pytest.mark.slow] * (each != ("ngpd", "matching", 1))) for each in ALL],
)
def test_simulation_follows_the_in_process_engine(
    strategy: str, schedule: str, nodes_per_client: int, superlink: SuperLink, tmp_path: Path
) -> None:
    settings = config(strategy, schedule, network={"message_loss": 0.1})
    seen = []
    found = run_flower(
        settings,
        tmp_path / "out",
        seen.append,
        superlink=superlink,
        nodes_per_client=nodes_per_client,
        on_event=pytest.fail,
    )
    expected = run(settings)
    torch.testing.assert_close(found.params, expected.params, rtol=0, atol=1e-9)
    assert [progress.round for progress in seen] == [0, 1, 2, 3, 4, 5]
    assert seen[-1].metrics == found.metrics[-1]
    for ours, theirs in zip(found.metrics, expected.metrics, strict=True):
        assert (ours.bytes_sent, ours.node_steps) == (theirs.bytes_sent, theirs.node_steps)
        assert ours.accuracy == theirs.accuracy
    final, wanted = found.summary["final"], expected.summary["final"]
    assert final == {key: pytest.approx(value, rel=1e-9) for key, value in wanted.items()}
    assert found.summary["flower"]["events"] == []
    edges = found.summary["flower"]["bytes_per_edge"]
    assert sum(there + back for _, _, there, back in edges) == found.summary["bytes_sent"]
    folder = RunFolder.open(tmp_path / "out")
    assert folder.config() == settings
    assert folder.parameters("average").keys() == folder.parameters("node7").keys()


@pytest.mark.slow
def test_nodes_that_talk_directly_follow_the_in_process_engine(superlink: SuperLink, tmp_path: Path) -> None:
    settings = config("ngpd", "matching", topology={"name": "ring", "nodes": 4, "schedule": "matching"})
    found = run_flower(settings, tmp_path / "out", superlink=superlink, data_plane="direct", on_event=pytest.fail)
    expected = run(settings)
    torch.testing.assert_close(found.params, expected.params, rtol=0, atol=1e-9)
    for ours, theirs in zip(found.metrics, expected.metrics, strict=True):
        assert (ours.bytes_sent, ours.node_steps) == (theirs.bytes_sent, theirs.node_steps)
        assert ours.accuracy == theirs.accuracy
    assert found.summary["final"] == {
        key: pytest.approx(value, rel=1e-9) for key, value in expected.summary["final"].items()
    }
    assert all(peer["wire_bytes"]["sent"] > 0 for peer in found.summary["flower"]["peers"])
    assert not [words for words in family(superlink.home).values() if "peer_process" in words]


FAULTS = """
import os, time
from pathlib import Path

def fault(message, context, call):
    number, client = message.content["config"]["round"], context.node_config["partition-id"]
    mark = Path(os.environ["FLWR_HOME"]) / "died"
    if number in (1, 2) and client == 2:
        raise ValueError("out of memory, say")
    if number == 3 and client == 5 and not mark.exists():
        mark.touch()
        os._exit(1)
    return call(message, context)
"""


@pytest.mark.slow
def test_a_run_goes_on_where_clients_raise_and_processes_die(superlink: SuperLink, tmp_path: Path) -> None:
    settings = config("dsgd", training={"rounds": 6, "local_steps": 2}, evaluation={"every": 3})
    told: list[str] = []
    app = faulty_app(tmp_path / "app", FAULTS)
    found = run_flower(settings, tmp_path / "out", superlink=superlink, app=app, on_event=told.append)
    events = {(each["round"], each["client"]): each["what"] for each in found.summary["flower"]["events"]}
    assert events[1, 2] == "out of memory, say" and (2, 2) not in events, "said once, until it answers"
    assert "died with its process" in events[3, 5]
    assert len(told) == len(found.summary["flower"]["events"])
    assert found.summary["status"] == "finished" and found.params.isfinite().all()
    lost = 3 + sum("process that is dead" in what for what in events.values())
    assert found.summary["node_steps"] == 2 * (8 * 6 - lost)


@pytest.mark.slow
def test_flwr_run_from_the_root_needs_no_installation(superlink: SuperLink, tmp_path: Path) -> None:
    """Also what is wrong is said in one line, and more clients are asked for where there are too few."""

    def flwr(clients: int, words: str) -> Event:
        """Return the last event of a run."""
        federation = f"num-supernodes={clients} client-resources-num-cpus=1"
        output, _ = superlink.flwr(
            "run", str(ROOT), "own", "--stream", "--federation-config", federation, "-c", words
        ).communicate()
        events = list(filter(None, map(read_event, output.splitlines())))
        assert events, output
        return events[-1]

    settings = config("dsgd")
    words = (
        "strategy.name='dsgd' training.rounds=5 training.local_steps=2 engine.dtype='float64' engine.device='cpu' "
        f"nodes-per-client=4 out='{tmp_path / 'out'}'"
    )
    last = flwr(2, words)
    assert isinstance(last, RoundEvent) and (last.round, last.rounds, last.node_steps) == (5, 5, 80)
    assert superlink.runs()[0]["status"] == "finished:completed"
    saved, expected = RunFolder.open(tmp_path / "out").models(), run(settings)
    for node, params in enumerate(expected.params):
        torch.testing.assert_close(expected.model.flatten(saved[f"node{node}"]), params, rtol=0, atol=1e-9)
    for words, message in (
        ("training.rounds=0", "training.rounds: input should be greater"),
        ("", '2 of 8 clients are there: run with --federation-config "num-supernodes=8"'),
    ):
        last = flwr(2, words)
        assert isinstance(last, FailureEvent) and last.is_input and last.message.startswith(message)
    assert superlink.runs()[0]["status"] == "finished:failed"


@pytest.mark.slow
def test_a_run_that_fails_says_so(superlink: SuperLink, tmp_path: Path) -> None:
    source = "def fault(message, context, call):\n    raise ValueError('nobody can')\n"
    with pytest.raises(RunFailed, match="no client answered in round 1: nobody can"):
        run_flower(config("dsgd"), tmp_path / "out", superlink=superlink, app=faulty_app(tmp_path / "app", source))
    assert RunFolder.open(tmp_path / "out").summary()["status"] == "failed"


@pytest.mark.slow
def test_a_client_that_runs_other_code_is_found_out(superlink: SuperLink, tmp_path: Path) -> None:
    app = write_app(tmp_path / "app")
    server = app / "ngpd_fl" / "flower" / "server" / "app.py"
    server.write_text(server.read_text().replace("wire.code_version()", '"own"'))
    with pytest.raises(InputError, match=r"client \d runs other code \(\w+\) than the server \(own\)"):
        run_flower(config("dsgd"), tmp_path / "out", superlink=superlink, app=app)
    assert not (tmp_path / "out").exists()


def _family(home: Path) -> list[int]:
    """Processes that were started with this FLWR_HOME."""
    found = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"FLWR_HOME={home}".encode() in each.read_bytes():
                found.append(int(each.parent.name))
        except OSError:
            continue
    return found


def _started_in(folder: Path) -> list[int]:
    """Processes whose working folder is this one."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if each.readlink() == folder:
                found.append(int(each.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_the_command_leaves_records_and_no_process(tmp_path: Path) -> None:
    """Also where proxies are named that lead nowhere."""
    words = "flower run --strategy dsgd --partition dirichlet --rounds 2 --nodes-per-client 4 --out records".split()
    (tmp_path / "datasets.py").write_text("raise ImportError('not the library')\n")  # Ray looks here first
    done = subprocess.run(
        [sys.executable, "-m", "ngpd_fl", *words],
        cwd=tmp_path,
        env={**os.environ, **PROXIES, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "finished after 2 rounds" in done.stdout
    names = {path.name for path in (tmp_path / "records").iterdir()}
    assert names >= {"config.toml", "environment.json", "metrics.jsonl", "summary.json", "models.safetensors", "plots"}
    assert _started_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("number", "plane"),
    [
        (signal.SIGINT, "relay"),
        (signal.SIGTERM, "relay"),
        (signal.SIGHUP, "relay"),
        (signal.SIGKILL, "relay"),
        (signal.SIGINT, "direct"),
        (signal.SIGKILL, "direct"),
    ],
)
def test_an_interruption_completes_the_records_and_leaves_nothing(number: signal.Signals, plane: str) -> None:
    """Also where the command is killed and can do nothing: then what it has started does it."""
    words = "flower run --strategy ngpd --rounds 5000 --nodes-per-client 4 --out records --data-plane".split()
    with tempfile.TemporaryDirectory() as name:  # short, as Ray needs it
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": name}
        started = subprocess.Popen([sys.executable, "-m", "ngpd_fl", *words, plane], cwd=name, env=environment)
        evaluations = Path(name) / "records" / "metrics.jsonl"
        while started.poll() is None and not (evaluations.exists() and evaluations.read_text().count("\n") > 2):
            time.sleep(0.1)
        (home,) = Path(name).glob("ngpd-fl-*")
        assert len(_family(home)) > 5 and list(home.glob("ngpd-fl-*/*")), "Ray runs, curvature lies there"
        started.send_signal(number)
        assert started.wait(120) == (-9 if number == signal.SIGKILL else 130)
        for _ in range(1200):
            if not home.exists() and not _family(home):  # what removes the folder ends after that
                break
            time.sleep(0.1)
        assert _family(home) == []
        assert [path.name for path in Path(name).iterdir()] == ["records"]
        folder = RunFolder.open(Path(name) / "records")
        assert folder.summary()["status"] == "interrupted"
        assert folder.summary()["rounds"] >= len(folder.metrics()) - 1


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_a_superlink_takes_all_its_processes_with_it() -> None:
    with SuperLink() as started:
        assert len(_family(started.home)) >= 2
        home = started.home
    assert _family(home) == []
    assert not home.exists()
