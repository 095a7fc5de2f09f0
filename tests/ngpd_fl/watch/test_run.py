"""A run's records while they are written: half, damaged, cut off and written again, or of several peers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ngpd_fl.clock import Drop, Read, Replay, Work
from ngpd_fl.config import build_topology
from ngpd_fl.records import RunFolder
from ngpd_fl.records.files import lock
from ngpd_fl.report.node_timelines import all_events, read_timelines
from ngpd_fl.watch import run as run_module
from ngpd_fl.watch.event_log import EventLog
from ngpd_fl.watch.folders import WatchedFolders, last_written
from ngpd_fl.watch.run import POINT, WatchedRun
from tests.ngpd_fl.watch.conftest import record

Change = Callable[[Path], object]


@pytest.fixture
def own(recorded: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(recorded, tmp_path / "run"))


def column(run: WatchedRun, name: str) -> list[Any]:
    return [point[POINT.index(name)] for point in run.points]


def test_points_are_those_of_the_records(recorded: Path) -> None:
    run = WatchedRun(recorded, "run")
    run.poll()
    metrics = RunFolder(recorded).metrics()
    assert column(run, "mean") == pytest.approx([each.mean for each in metrics], rel=1e-5)
    assert column(run, "worst") == pytest.approx([each.worst for each in metrics], rel=1e-5)
    assert column(run, "bytes") == pytest.approx([each.bytes_sent for each in metrics], rel=1e-5)
    assert column(run, "virtual") == pytest.approx([each.virtual_seconds for each in metrics], rel=1e-5)
    assert run.values()["accuracy"]["values"] == pytest.approx(metrics[-1].nodes, rel=1e-3)
    assert (run.head()["status"], run.head()["left"], run.problems) == ("finished", None, [])


def test_what_is_there_of_a_run_is_shown(own: Path) -> None:
    """Its files come one after another, the evaluations in pieces; it is resumed, and ends."""
    (whole := own.parent / "whole").mkdir()
    for path in [*own.iterdir()]:
        path.rename(whole / path.name)
    run, text = WatchedRun(own, "run"), (whole / "metrics.jsonl").read_text()
    lines = text.splitlines(keepends=True)
    run.poll()
    assert (run.head()["planned"], run.points) == (0, [])
    config = (whole / "config.toml").read_text()
    (own / "config.toml").write_text(config[:40] + "\n=")
    run.poll()
    assert "config.toml" in run.problems[0] and str(own) not in run.problems[0]
    (own / "config.toml").write_text(config)
    shutil.copy(whole / "environment.json", own)
    (own / "metrics.jsonl").write_text("".join(lines[:3]) + lines[3][:50])
    run.poll()
    assert (column(run, "rounds"), run.problems, run.is_running) == ([0, 1, 2], [], True)
    version = run.version
    run.poll()
    assert run.version == version
    generation = run.generation
    (own / "metrics.jsonl").write_text("".join(lines[:1]))  # resumed from round 0
    run.poll()
    assert column(run, "rounds") == [0] and run.generation > generation
    (own / "metrics.jsonl").write_text(text)
    shutil.copy(whole / "summary.json", own)
    run.poll()
    assert (column(run, "rounds"), run.head()["status"]) == ([0, 1, 2, 3, 4], "finished")


def test_a_run_goes_on_while_it_is_locked_or_has_just_written(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "summary.json").unlink()
    (own / "metrics.jsonl").touch()
    run = WatchedRun(own, "run")
    run.poll()
    assert run.is_running
    assert run.head()["left"] == 0
    monkeypatch.setattr(run_module, "_FRESH", 0.0)
    run.poll()
    assert run.head()["status"] == "unfinished"
    with lock(own / "config.toml"):
        run.poll()
        assert run.is_running


def edited(name: str, change: Callable[[dict[str, Any]], object]) -> Change:
    """Return a change of the last line of a file."""

    def edit(folder: Path) -> None:
        *lines, last = (folder / name).read_text().splitlines()
        change(values := json.loads(last))
        (folder / name).write_text("\n".join([*lines, json.dumps(values)]) + "\n")

    return edit


def piped(name: str) -> Change:
    def pipe(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return pipe


def linked(name: str) -> Change:
    def link(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(folder.parent / name)

    return link


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edited("metrics.jsonl", lambda values: values.update(bytes_sent=10**400)), "metrics.jsonl has damaged"),
        (
            edited("metrics.jsonl", lambda values: values.update(mean_accuracy=float("nan"))),
            "metrics.jsonl has damaged",
        ),
        (edited("metrics.jsonl", lambda values: values.update(accuracy="<b>")), "metrics.jsonl has damaged"),
        (lambda folder: (folder / "metrics.jsonl").write_bytes(b"\xff\xfe\n"), "metrics.jsonl has damaged"),
        (lambda folder: (folder / "summary.json").write_text("{"), "summary.json"),
        (lambda folder: (folder / "peer.json").write_text("[1]"), "peer.json"),
        (linked("metrics.jsonl"), "metrics.jsonl cannot be read"),
        (linked("config.toml"), "config.toml: is a link"),
        (piped("config.toml"), "config.toml: is not a file"),
        (linked("summary.json"), "summary.json: is a link"),
    ],
)
def test_what_is_damaged_or_leads_elsewhere_is_said(own: Path, change: Change, said: str) -> None:
    change(own)
    run = WatchedRun(own, "run")
    run.poll()
    assert any(said in problem for problem in run.problems), run.problems
    json.dumps(run.head(), allow_nan=False)
    json.dumps(run.points, allow_nan=False)


@pytest.mark.parametrize("name", ["config.toml", "study.toml"])
def test_a_folder_in_which_nothing_can_be_opened_hides_no_other(name: str, recorded: Path, tmp_path: Path) -> None:
    """Its own path is just not too long for the system, so that its files are listed, but have no path."""
    folder = tmp_path
    while (room := os.pathconf("/", "PC_PATH_MAX") - 6 - len(str(folder))) > 0:
        folder /= "x" * min(room - 1, 200)
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    folders = WatchedFolders([folder, recorded])
    folders.poll()
    odd, *_ = [run for run in (*folders.runs.values(), *folders.studies.values()) if run.path == folder]
    problems = odd.problems if isinstance(odd, WatchedRun) else [odd.state()["problem"]]
    assert any("File name too long" in problem for problem in problems), problems
    assert [run.last.round for run in folders.runs.values() if run.last] == [4]


def test_a_run_with_a_link_to_nothing_is_a_run(own: Path) -> None:
    (own / "config.toml").unlink()
    (own / "config.toml").symlink_to("nowhere")
    folders = WatchedFolders([own])
    folders.poll()
    [run] = folders.runs.values()
    assert not folders.studies and any("config.toml: is a link" in problem for problem in run.problems)


def test_a_folder_may_be_removed_replaced_and_cut(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each change, the page is as one that is opened then."""
    larger = record(tmp_path / "larger", topology={"nodes": 6})
    place = tmp_path / "place"
    folders = WatchedFolders([place])

    def look(folders: WatchedFolders) -> Any:
        monkeypatch.setattr(folders, "_next_search", 0.0)
        folders.poll()
        folders.poll_logs({""})
        return [run.points for run in folders.runs.values()], folders.detail("")

    def halve(name: str) -> None:
        os.truncate(place / name, (place / name).stat().st_size // 2)

    for change in (
        lambda: None,
        lambda: shutil.copytree(recorded, place),
        lambda: halve("metrics.jsonl"),
        lambda: halve("events.jsonl"),
        lambda: (shutil.rmtree(place), shutil.copytree(larger, place)),
        lambda: shutil.rmtree(place),
        lambda: place.write_text("a file"),
        lambda: (place.unlink(), shutil.copytree(recorded, place)),
    ):
        change()
        assert look(folders) == look(WatchedFolders([place]))
    assert len(folders.runs) == 1


def test_long_runs_are_thinned_with_their_last_point(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_POINTS", 8)
    (own / "summary.json").unlink()
    *_, last = (own / "metrics.jsonl").read_text().splitlines()
    (own / "metrics.jsonl").write_text("")
    run = WatchedRun(own, "run")
    for round in range(100):
        with (own / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({**json.loads(last), "round": round}) + "\n")
        run.poll()
        rounds = column(run, "rounds")
        assert rounds[0] == 0 and rounds[-1] == round and len(rounds) <= 17 and rounds == sorted(set(rounds))
    steps = {after - before for before, after in zip(rounds, rounds[1:-1], strict=False)}
    assert max(steps) <= 2 * min(steps)


def test_figures_of_the_edges_are_those_of_the_events(recorded: Path) -> None:
    """Counted plainly from the whole log: messages, losses, ages, and who waited for whose message."""
    topology = build_topology(RunFolder(recorded).config())
    events = [*all_events(Replay(recorded / "events.jsonl", topology.num_nodes, len(topology.edges)))]
    log = EventLog(recorded / "events.jsonl", topology)
    log.poll()
    size = len(topology.edges)
    messages, waited = [0] * size, [0.0] * size
    done = {(event.node, event.round): event.time for event in events if isinstance(event, Work)}
    for event in events:
        if isinstance(event, Work):
            for edge, _ in event.sends:
                messages[edge // 2] += 1
        if isinstance(event, Read) and event.time > done[event.node, event.round] + 1e-9 and event.taken:
            latest = max(event.taken, key=lambda t: done[int(topology.edges[t.edge // 2, t.edge % 2]), t.round])
            waited[latest.edge // 2] += event.time - done[event.node, event.round]
    figures = log.edges()
    assert sum(waited) > 0 and figures["waited"] == pytest.approx(waited, rel=1e-3)
    assert figures["messages"] == messages
    assert "lost" not in figures and not any(isinstance(event, Drop) for event in events)
    timelines = read_timelines(events, topology.num_nodes)
    shown = log.timeline()
    assert shown is not None and shown["nodes"] == [0, 1, 2, 3]
    waits = [
        (node, length)
        for node, timeline in enumerate(timelines)
        for _, length in timeline.intervals["waits"]
        if length > 1e-9
    ]
    assert [(row, pytest.approx(length, rel=1e-4)) for row, _, length, _ in shown["intervals"]["waits"]] == waits
    assert all(whom is not None and whom != row for row, _, _, whom in shown["intervals"]["waits"])


def test_an_event_log_that_grows_gives_the_same_as_the_whole(own: Path) -> None:
    topology = build_topology(RunFolder(own).config())
    whole = EventLog(own / "events.jsonl", topology)
    whole.poll()
    text = (own / "events.jsonl").read_bytes()
    growing = EventLog(own / "events.jsonl", topology)
    for end in (*range(0, len(text), 700), len(text)):
        (own / "events.jsonl").write_bytes(text[:end])
        growing.poll()
    assert (growing.edges(), growing.timeline()) == (whole.edges(), whole.timeline())


def test_events_of_another_network_are_no_harm(own: Path) -> None:
    topology = build_topology(RunFolder(own).config())
    with (own / "events.jsonl").open("a") as file:
        file.write('{"event": "notice", "time": 1e308, "node": 99, "what": "leaves", "round": 0}\n')
        file.write('{"event": "drop", "time": 1.0, "edge": 400000, "sequence": 0, "why": "lost"}\n{"event": "round"\n')
    log = EventLog(own / "events.jsonl", topology)
    log.poll()
    assert "no events of this network" in log.problem
    json.dumps([log.timeline(), log.edges(), log.notices()], allow_nan=False)


def test_peers_are_one_graph(recorded: Path, tmp_path: Path) -> None:
    for name, nodes in (("a", [0, 2]), ("b", [1, 3])):
        folder = Path(shutil.copytree(recorded, tmp_path / "peers" / name))
        (folder / "peer.json").write_text(json.dumps({"nodes": nodes, "starts": 1, "incarnation": 0}))

        def only(values: dict[str, Any], nodes: list[int] = nodes) -> None:
            values["accuracy"] = [value if node in nodes else None for node, value in enumerate(values["accuracy"])]

        edited("metrics.jsonl", only)(folder)
    folders = WatchedFolders([tmp_path / "peers"])
    folders.poll()
    assert [run.name for run in folders.runs.values()] == ["a", "b"]
    whole = RunFolder(recorded).metrics()[-1].nodes
    for key in folders.runs:
        detail = folders.detail(key)
        assert detail is not None
        assert detail["quantities"]["accuracy"]["values"] == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/ngpd-1"], ["ngpd-1"]),
        (["runs/ngpd-1", "runs/ngpd-2", "runs/ngpd-1"], ["ngpd-1", "ngpd-2"]),
        (["a/records", "b/records", "c/records"], ["a", "b", "c"]),
        (["x/a/records", "y/a/records", "y/b/records"], ["x/a", "y/a", "y/b"]),
        (["a/records", "b/records", "c/records/d"], ["a/records", "b/records", "records/d"]),
    ],
)
def test_names_of_folders_tell_them_apart(recorded: Path, tmp_path: Path, paths: list[str], names: list[str]) -> None:
    for path in paths:
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
        shutil.copy(recorded / "config.toml", tmp_path / path)
    folders = WatchedFolders([tmp_path / path for path in paths])
    folders.poll()
    assert folders.title == ", ".join(names)
    assert {run.path: run.name for run in folders.runs.values()} == {
        tmp_path / path: name for path, name in zip(dict.fromkeys(paths), names, strict=True)
    }


def test_runs_that_begin_later_are_found(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = WatchedFolders([tmp_path / "later"])
    folders.poll()
    assert (folders.runs, last_written(tmp_path)) == ({}, None)
    shutil.copytree(recorded, tmp_path / "later" / "one")
    (tmp_path / "later" / "away").symlink_to(recorded)
    monkeypatch.setattr(folders, "_next_search", 0.0)
    folders.poll()
    assert [run.name for run in folders.runs.values()] == ["one"]
    assert last_written(tmp_path) == tmp_path / "later"
