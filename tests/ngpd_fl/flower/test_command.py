"""``ngpd-fl flower run`` and ``deploy run`` from their words to their records, with no process but this one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ngpd_fl import Config, RunFolder, run
from ngpd_fl.cli import main
from ngpd_fl.deploy.folders import make_keys
from tests.support.flower import FakeSuperLink, Fault

WORDS = "--strategy dsgd --nodes 3 --rounds 2 --local-steps 1 --set model.name=softmax --set engine.dtype=float64"
CONFIG = Config(
    strategy="dsgd",
    topology={"nodes": 3},
    training={"rounds": 2, "local_steps": 1},
    model="softmax",
    engine={"dtype": "float64"},
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call commands in a folder of their own; no pictures are drawn, which takes most time of a short run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ngpd_fl.report.pictures.write_plots", lambda folder, trust_code: [])


def start(monkeypatch: pytest.MonkeyPatch, fault: Fault = lambda *_: None) -> FakeSuperLink:
    """Put a SuperLink in the place of the one that a command would start or find."""
    superlink = FakeSuperLink(fault)
    monkeypatch.setattr("ngpd_fl.flower.launcher.run.SuperLink", lambda: superlink)
    monkeypatch.setattr("ngpd_fl.deploy.services.connect", lambda files, port: superlink)
    return superlink


@pytest.mark.parametrize("command", ["flower run", "deploy run superlink"])
def test_a_command_follows_the_in_process_engine(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_keys(tmp_path, ["localhost"], 1, 1)
    start(monkeypatch)
    assert main([*command.split(), *WORDS.split(), "--nodes-per-client", "2", "--out", "out", "--watch"]) == 0
    said, folder, expected = capsys.readouterr(), RunFolder.open(tmp_path / "out"), run(CONFIG)
    assert "watch it at http://127.0.0.1:" in said.err
    assert "finished after 2 rounds" in said.out and "\nrecords in out\n" in said.out
    shown = [line for line in said.err.splitlines() if line.startswith("dsgd")]
    assert [line.split("  ")[1] for line in shown] == ["round 0/2", "round 1/2", "round 2/2"]
    assert "node-steps/s" in shown[-1]
    assert f"mean {expected.metrics[-1].measure.text(expected.metrics[-1].mean):>7}" in shown[-1]
    assert folder.config() == CONFIG
    for node, params in enumerate(expected.params):
        saved = expected.model.flatten(folder.parameters(f"node{node}"))
        torch.testing.assert_close(saved, params, rtol=0, atol=1e-9)
    assert "average" in folder.models()


def test_what_happens_to_clients_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(monkeypatch, lambda *message: "fails" if message == ("train", 1, 1) else None)
    assert main(["flower", "run", *WORDS.split(), "--out", "out"]) == 0
    said = capsys.readouterr()
    assert "round 2: client 1 boom" in said.err.splitlines()
    events = RunFolder.open(tmp_path / "out").summary()["flower"]["events"]
    assert events == [{"round": 1, "client": 1, "what": "boom"}], "of the second round"


def test_quiet_prints_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    start(monkeypatch)
    assert main(["flower", "run", *WORDS.split(), "--out", "out", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_run_that_fails_or_cannot_begin_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(monkeypatch, lambda kind, number, client: "fails" if (kind, number) == ("train", 1) else None)
    assert main(["flower", "run", *WORDS.split(), "--out", "out"]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == (
        "ngpd-fl: error: dsgd failed in round 2: RunFailed: RuntimeError: no client answered in round 2: boom; "
        "records are kept in out"
    )
    assert RunFolder.open(tmp_path / "out").summary()["status"] == "failed"
    start(monkeypatch, lambda kind, number, client: "fails" if kind == "query" else None)
    assert main(["flower", "run", *WORDS.split(), "--out", "other"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "ngpd-fl: error: a client cannot take part: boom"
    assert not (tmp_path / "other").exists()


def test_an_interruption_stops_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(kind: str, number: int, client: int) -> None:
        if (kind, number) == ("train", 1):
            raise KeyboardInterrupt

    superlink = start(monkeypatch, interrupted)
    assert main(["flower", "run", *WORDS.split(), "--out", "out"]) == 130
    assert "dsgd interrupted after round" in capsys.readouterr().err.splitlines()[-1]
    assert superlink.stopped == [7]
