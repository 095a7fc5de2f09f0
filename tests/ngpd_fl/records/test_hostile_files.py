"""Every reader of files, given what is not what was written: it reads it, or says in one line what is wrong."""

from __future__ import annotations

import hashlib
import io
import json
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import networkx as nx
import numpy as np
import pytest
import torch
from PIL import Image

from ngpd_fl.clock import Replay
from ngpd_fl.config import Config, DataConfig, IndicesPartition, InputError, parse_assignments
from ngpd_fl.data.description import Description
from ngpd_fl.data.hub import read_hub
from ngpd_fl.data.index_lists import index_lists
from ngpd_fl.data.tensor_cache import cached_tensors
from ngpd_fl.deploy.folders import make_peer_keys
from ngpd_fl.devices import read_table
from ngpd_fl.flower import run_config
from ngpd_fl.models.saved import load_start
from ngpd_fl.peer.merge import PeerFolder
from ngpd_fl.peer.run import read_self, write_self
from ngpd_fl.peer.transport import Credentials, Peers
from ngpd_fl.records import ACCURACY, DamagedCheckpoint, RunFolder, differences
from ngpd_fl.report import read_run
from ngpd_fl.report.node_timelines import all_events, read_timelines
from ngpd_fl.report.page.collection import RecordedRun
from ngpd_fl.report.page.study import page_content
from ngpd_fl.report.page.tables import environments, lines
from ngpd_fl.report.table import line_by_line, side_by_side
from ngpd_fl.study import StudyPlan
from ngpd_fl.study.runs import RunStore
from ngpd_fl.sweep import SweepPlan, ranked, read_trials, run_sweep
from ngpd_fl.sweep.trials import Trials
from ngpd_fl.training.run import run
from tests.support.mutations import json_mutated, mutated, tensors_mutated, toml_mutated
from tests.support.studies import TEXT

FEW, MANY = 40, 5_000
SECONDS, MEMORY, CHARACTERS = 20, 4 << 30, 1600
"""What a reader may take for a small file, and how long what it says may be."""

SWEEP = (
    'seed = 1\nmodel = "softmax"\n[training]\nrounds = 1\nlocal_steps = 1\n[sweep.keys]\n"strategy.lr" = [0.1, 0.2]\n'
)
BOARD = "[board]\nstep_factor = 2.0\nup_kbit_s = 1000\nlatency_s = 0.01\ncompute_w = 4\nsource = 'assumed'\n"
PEERS = "".join(f'[[peers]]\naddress = "127.0.0.1:{7000 + node}"\nnodes = [{node}]\n' for node in range(4))
GRAPHS: dict[str, Callable[[nx.Graph, Path], Any]] = {
    "edgelist": lambda graph, path: nx.write_edgelist(graph, path, data=False),
    "csv": lambda graph, path: nx.write_edgelist(graph, path, delimiter=",", data=False),
    "adjlist": nx.write_adjlist,
    "graphml": nx.write_graphml,
    "gml": nx.write_gml,
    "gexf": nx.write_gexf,
    "g6": nx.write_graph6,
}


class Reader(NamedTuple):
    """A file, who reads it, and what makes another file of it besides mutations of bytes."""

    path: str
    read: Callable[[Path], Any]
    altered: Callable[[bytes, random.Random], bytes] = mutated


def shown(folder: Path) -> None:
    """What ``show`` and ``report`` say of a run."""
    outcome = read_run(folder)
    line_by_line(outcome), side_by_side([outcome])
    found = RecordedRun(folder, outcome, RunFolder(folder).environment())
    environments([found]), lines(found.environment)
    differences(found.environment, found.environment)


def study_shown(folder: Path) -> None:
    """What ``report`` makes of a study's tables."""
    page_content([RecordedRun(folder / "runs" / "one", read_run(folder / "runs" / "one"), {})])


def checkpoint(folder: Path) -> None:
    """A checkpoint, whose checksums an adversary has made to fit."""
    notes, tensors = folder / "checkpoints/round-000002.json", folder / "checkpoints/round-000002.safetensors"
    try:
        content = json.loads(notes.read_bytes())["content"]
        content["tensors"] = hashlib.sha256(tensors.read_bytes()).hexdigest()
        checksum = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        notes.write_text(json.dumps({"sha256": checksum, "content": content}))
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    try:
        RunFolder(folder).checkpoints.read(2)
    except DamagedCheckpoint as refused:
        raise InputError(str(refused)) from refused


def started(folder: Path) -> None:
    """A network that starts from a file."""
    load_start(torch.nn.Linear(3, 2), folder / "start.safetensors")


def indexed(name: str) -> Callable[[Path], Any]:
    """Index lists of 3 nodes."""
    return lambda folder: index_lists(IndicesPartition(file=folder / name), 3, torch.arange(20))


def tabled(name: str) -> Callable[[Path], Any]:
    """A data set of the hub in a folder."""
    data = {"dataset": "hf:own/letters", "node_column": "writer"}
    return lambda folder: read_hub(DataConfig(data_dir=folder / name, **data))


def told(folder: Path) -> None:
    """Events, and what is drawn of them."""
    read_timelines(all_events(Replay(folder / "events.jsonl", 4, 4)), 4)


def swept(folder: Path) -> None:
    """A sweep's trials as ``show`` reads them."""
    plan = SweepPlan.read(folder / "sweep.toml", measure=ACCURACY)
    ranked(plan, read_trials(plan, folder))


def graph_in(name: str) -> Callable[[Path], Any]:
    return lambda folder: Config(topology={"name": "file", "path": folder / name})


def texted(read: Callable[[str], Any]) -> Callable[[Path], Any]:
    """A reader of words of the command line, which have no null bytes."""
    return lambda folder: read((folder / "words").read_bytes().decode(errors="surrogateescape").replace("\0", ""))


READERS = {
    "config": Reader("config.toml", lambda folder: Config.load(folder / "config.toml"), toml_mutated),
    "sweep": Reader("sweep.toml", lambda folder: SweepPlan.read(folder / "sweep.toml", measure=ACCURACY), toml_mutated),
    "study": Reader("study.toml", lambda folder: StudyPlan.parse(folder / "study.toml"), toml_mutated),
    "peers": Reader("peers.toml", lambda folder: Peers.read(folder / "peers.toml"), toml_mutated),
    "devices": Reader("board.toml", lambda folder: read_table(folder / "board.toml"), toml_mutated),
    "devices-csv": Reader("board.csv", lambda folder: read_table(folder / "board.csv")),
    "dataset": Reader("dataset.toml", Description.read, toml_mutated),
    "metrics": Reader("metrics.jsonl", shown, json_mutated),
    "summary": Reader("summary.json", shown, json_mutated),
    "environment": Reader("environment.json", shown, json_mutated),
    "label-counts": Reader("label_counts.json", lambda folder: RunFolder(folder).label_counts(), json_mutated),
    "models": Reader("models.safetensors", lambda folder: RunFolder(folder).models(), tensors_mutated),
    "checkpoint-plan": Reader("checkpoints/plan.json", lambda f: RunFolder(f).checkpoints.planned(), json_mutated),
    "checkpoint": Reader("checkpoints/round-000002.json", checkpoint, json_mutated),
    "checkpoint-tensors": Reader("checkpoints/round-000002.safetensors", checkpoint, tensors_mutated),
    "start": Reader("start.safetensors", started, tensors_mutated),
    "index-lists": Reader("parts.json", indexed("parts.json"), json_mutated),
    "index-arrays": Reader("parts.npz", indexed("parts.npz")),
    "table": Reader("table/train.parquet", tabled("table")),
    "saved-table": Reader("saved/data-00000-of-00001.arrow", tabled("saved")),
    "saved-table-state": Reader("saved/state.json", tabled("saved"), json_mutated),
    "saved-table-info": Reader("saved/dataset_info.json", tabled("saved"), json_mutated),
    "peer": Reader("peer.json", read_self, json_mutated),
    "peer-records": Reader("summary.json", PeerFolder.open, json_mutated),
    "events": Reader("events.jsonl", told, json_mutated),
    "journal": Reader("journal.jsonl", RunStore, json_mutated),
    "study-page": Reader("study.toml", study_shown, toml_mutated),
    "study-runs": Reader("runs.csv", study_shown),
    "study-results": Reader("results.csv", study_shown),
    "study-provenance": Reader("provenance.json", study_shown, json_mutated),
    "trials": Reader("trials.parquet", swept),
    "optuna": Reader(
        "optuna.journal",
        lambda folder: Trials(SweepPlan.read(folder / "sweep.toml", measure=ACCURACY), folder).trials(),
        json_mutated,
    ),
    "cache": Reader(
        "cache.safetensors",
        lambda folder: cached_tensors([folder / "cache.safetensors"], "same", lambda: {"a": torch.zeros(2)}, bool),
        tensors_mutated,
    ),
    "certificate": Reader("node0/node0.crt", lambda folder: Credentials.open(folder / "node0")),
    "key": Reader("node0/node0.key", lambda folder: Credentials.open(folder / "node0")),
    "set": Reader("words", texted(lambda text: parse_assignments([text])), toml_mutated),
    "flower": Reader("words", texted(lambda text: run_config.read({"model.hidden": text})), toml_mutated),
    **{f"graph-{kind}": Reader(f"graph.{kind}", graph_in(f"graph.{kind}")) for kind in GRAPHS},
}


def picture() -> bytes:
    content = io.BytesIO()
    Image.new("L", (3, 2), 51).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of every file, all as they should be."""
    home = tmp_path_factory.mktemp("files") / "home"
    (home.parent / "sweep.toml").write_text(SWEEP)
    run_sweep(SweepPlan.read(home.parent / "sweep.toml"), home)
    config = Config(
        model={"name": "mlp", "hidden": [4]},
        topology={"nodes": 4},
        strategy={"name": "dsgd"},
        training={"rounds": 2, "local_steps": 1, "mode": "asynchronous", "until_accuracy": 1.0},
        devices={"mix": {"phone-fast": 1.0}},
    )
    run(config, home / "runs" / "one", checkpoint_every=2, event_log=True)
    for path in (home / "runs" / "one").rglob("*"):
        if path.is_file():
            (home / path.relative_to(home / "runs" / "one")).parent.mkdir(exist_ok=True)
            (home / path.relative_to(home / "runs" / "one")).write_bytes(path.read_bytes())
    write_self(home, range(4), 1, 1)
    for name, text in {
        "study.toml": TEXT,
        "peers.toml": PEERS,
        "board.toml": BOARD,
        "board.csv": "name,step_factor,latency_s,source\nboard,2,0.5,assumed\nother,1,,assumed\n",
        "dataset.toml": 'classes = ["a", "b"]\nmean = [0.5]\nstd = [0.25]\n',
        "journal.jsonl": json.dumps({"run": "one", "what": "x", "status": "failed", "note": "n", "seconds": 1.5})
        + "\n",
        "runs.csv": "cell,strategy,role,phase,run\nring/iid,ngpd,peer,final,one\n",
        "results.csv": 'cell,strategy,values,paper\nring/iid,ngpd,"{""strategy.lr"": 0.05}",98 %\n',
        "provenance.json": '{"commit": "abc", "machine": {"cores": 2}, "environments": [{}]}',
        "words": "model.hidden=[64, 32]\n",
    }.items():
        (home / name).write_text(text)
    for kind, write in GRAPHS.items():
        write(nx.cycle_graph(6), home / f"graph.{kind}")
    from safetensors.torch import save_file

    lists = [list(range(node, 20, 3)) for node in range(3)]
    (home / "parts.json").write_text(json.dumps(lists))
    np.savez(home / "parts.npz", **{f"node{node}": np.array(indices) for node, indices in enumerate(lists)})
    columns = {"image": [{"bytes": picture(), "path": None}] * 12, "label": [0, 1] * 6, "writer": list("abcd") * 3}
    kinds = {"image": datasets.Image(), "label": datasets.Value("int64"), "writer": datasets.Value("string")}
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    table.save_to_disk(str(home / "saved"))
    (home / "table").mkdir()
    table.to_parquet(home / "table" / "train.parquet")
    save_file(torch.nn.Linear(3, 2).state_dict(), home / "start.safetensors")
    cached_tensors([home / "cache.safetensors"], "same", lambda: {"a": torch.zeros(2), "b": torch.ones(3, 4)}, bool)
    make_peer_keys(home, Peers.read(home / "peers.toml"), 30)
    return home


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """Let no reader take more than so much more memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def unread(reader: Reader, folder: Path, seeds: Sequence[int]) -> list[str]:
    """Return what went wrong otherwise than it may, with the seed of each."""
    path = folder / reader.path
    good, wrong = path.read_bytes(), []
    beside = folder.glob("checkpoints/*") if reader.read is checkpoint else ()  # it writes there itself
    files = {each: each.read_bytes() for each in beside}
    try:
        for seed in seeds:
            draw = random.Random(seed)
            path.write_bytes((reader.altered if seed % 2 else mutated)(good, draw))
            began = time.process_time()
            try:
                reader.read(folder)
            except InputError as error:
                text = str(error)
                if "\n" in text or not text.isprintable() or not 0 < len(text) <= CHARACTERS:
                    wrong.append(f"seed {seed}: {len(text)} characters: {text!r}"[:500])
            except Exception as error:
                wrong.append(f"seed {seed}: {type(error).__name__}: {error}"[:500])
            if (seconds := time.process_time() - began) > SECONDS:
                wrong.append(f"seed {seed}: took {seconds:.0f} s")
            for each, content in files.items():
                each.write_bytes(content)
    finally:
        path.write_bytes(good)
    return wrong


@pytest.mark.parametrize("name", READERS)
def test_files_as_they_should_be_are_read(folder: Path, name: str) -> None:
    if name not in ("flower", "peer-records"):  # the first has other words, the second no models of its own
        READERS[name].read(folder)


@pytest.mark.parametrize("name", READERS)
def test_whatever_a_file_holds_is_read_or_refused_in_one_line(folder: Path, name: str, bounded_memory: None) -> None:
    assert unread(READERS[name], folder, range(FEW)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_the_same_many_times(folder: Path, name: str, bounded_memory: None) -> None:
    assert unread(READERS[name], folder, range(FEW, FEW + MANY)) == []
