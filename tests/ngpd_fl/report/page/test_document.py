"""The page without a browser: figures as recorded, no external resources, no partial files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean, median, stdev

import pytest

from ngpd_fl.config import InputError
from ngpd_fl.report.page import write_page
from ngpd_fl.report.page.template import breakable, unbroken
from ngpd_fl.report.units import seconds, size
from tests.ngpd_fl.report.page.conftest import SEEDS, Page, tiny

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def summaries(runs: Path, strategy: str) -> list[dict[str, float]]:
    return [json.loads((runs / f"{strategy}-{seed}" / "summary.json").read_text())["final"] for seed in SEEDS]


def test_figures_are_those_of_the_summaries(runs: Path, tmp_path: Path) -> None:
    page = Page(write_page([runs], tmp_path / "report.html"))
    _, heads, *rows = page.tables["setting-1"]
    assert heads[:3] == ["mean of the nodes", "worst node", "averaged model"]
    assert heads[-2:] == ["training loss", "consensus distance"]
    assert {row[0] for row in rows} == {"ngpd", "dsgd"}
    for label, number, *figures in rows:
        assert number == str(len(SEEDS))
        for key, said in zip(("mean", "min", "averaged_model"), figures, strict=False):
            values = [100 * final[f"{key}_accuracy"] for final in summaries(runs, label)]
            assert said == f"{fmean(values):.2f} ± {stdev(values):.2f} %"
        lasts = [
            json.loads((runs / f"{label}-{seed}" / "metrics.jsonl").read_text().splitlines()[-1]) for seed in SEEDS
        ]
        for key, said in zip(("train_loss", "consensus_distance"), figures[-2:], strict=True):
            values = [last[key] for last in lasts]
            mean = f"{fmean(values):#.3g}"
            assert said == f"{mean} ± {stdev(values):.{len(mean.partition('.')[2])}f}"
    means = [fmean(final["mean_accuracy"] for final in summaries(runs, row[0])) for row in rows]
    assert means == sorted(means, reverse=True)


def test_every_run_is_listed_with_its_own_figures(runs: Path, tmp_path: Path) -> None:
    page = Page(write_page([runs], tmp_path / "report.html"))
    _, *rows = page.tables["runs"]
    assert len(rows) == 4
    for label, seed, end, mean, worst, averaged, time, folder in rows:
        final = json.loads((Path(folder) / "summary.json").read_text())["final"]
        assert Path(folder) == runs / f"{label}-{seed}" and end == "finished after 3 rounds"
        keys = ("mean_accuracy", "min_accuracy", "averaged_model_accuracy")
        last = json.loads((Path(folder) / "metrics.jsonl").read_text().splitlines()[-1])
        assert time == seconds(last["train_seconds"])
        assert [mean, worst, averaged] == [f"{100 * final[key]:.1f} %" for key in keys]


def test_what_a_target_costs(runs: Path, tmp_path: Path) -> None:
    """The best mean of one of dsgd's runs: the other does not reach it."""
    curves = {
        seed: [json.loads(line) for line in (runs / f"dsgd-{seed}" / "metrics.jsonl").read_text().splitlines()]
        for seed in SEEDS
    }
    target = max(line["mean_accuracy"] for lines in curves.values() for line in lines)
    page = Page(write_page([runs], tmp_path / "report.html", target=target))
    firsts = [next((each for each in lines if each["mean_accuracy"] >= target), None) for lines in curves.values()]
    reached = [each for each in firsts if each]
    assert len(reached) == 1
    row = next(row for row in page.tables["setting-1"] if row[0] == "dsgd")
    assert row[5:7] == [f"{reached[0]['round']} (1 of 2)", f"{size(reached[0]['bytes_sent'])} (1 of 2)"]


def test_the_target_is_nine_tenths_of_the_best_final_accuracy(runs: Path, tmp_path: Path) -> None:
    page = Page(write_page([runs], tmp_path / "report.html"))
    _, _, *rows = page.tables["setting-1"]
    text = (tmp_path / "report.html").read_text()
    target = float(re.findall(r'value="([\d.]+)" min', text)[0]) / 100
    finals = [final["mean_accuracy"] for strategy in ("ngpd", "dsgd") for final in summaries(runs, strategy)]
    assert target == pytest.approx(0.9 * max(finals), abs=5e-4) and "(90 % of the best at the end)" in text
    for label, _, *texts in rows:
        firsts = []
        for seed in SEEDS:
            lines = (runs / f"{label}-{seed}" / "metrics.jsonl").read_text().splitlines()
            reached = (each["round"] for each in map(json.loads, lines) if each["mean_accuracy"] >= target)
            firsts += [round for round in [next(reached, None)] if round is not None]
        few = f" ({len(firsts)} of 2)" if len(firsts) < 2 else ""
        assert texts[3] == (f"{median(firsts):g}{few}" if firsts else "not reached")


def test_nothing_is_loaded_from_elsewhere(runs: Path, tmp_path: Path) -> None:
    page = Page(write_page([runs], tmp_path / "report.html"))
    assert page.links and all(link.startswith(("#", "data:")) for link in page.links)
    assert "link" in page.tags and "iframe" not in page.tags and "img" not in page.tags


def test_names_are_no_markup(own_runs: Path, tmp_path: Path) -> None:
    (own_runs / "dsgd-1").rename(own_runs / HOSTILE.replace("/", ""))
    plain = Page(write_page([own_runs], tmp_path / "plain.html"))
    page = Page(write_page([own_runs], tmp_path / "report.html", title=HOSTILE))
    assert page.tags == plain.tags and "img" not in page.tags
    assert any("onerror" in row[-1] for row in page.tables["runs"])


def test_a_run_that_diverged_is_counted_but_not_in_the_mean(own_runs: Path, tmp_path: Path) -> None:
    path = own_runs / "dsgd-1" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "diverged"}))
    page = Page(write_page([own_runs], tmp_path / "report.html"))
    _, _, *rows = page.tables["setting-1"]
    assert rows[-1][0] == "dsgd 1 of 2 diverged"
    assert rows[-1][2] == f"{100 * summaries(own_runs, 'dsgd')[1]['mean_accuracy']:.2f} %"


def test_a_run_without_an_evaluation(own_runs: Path, tmp_path: Path) -> None:
    for name in ("metrics.jsonl", "summary.json"):
        (own_runs / "dsgd-1" / name).unlink()
    page = Page(write_page([own_runs / "dsgd-1"], tmp_path / "report.html"))
    assert page.tables["setting-1"][-1] == ["dsgd 1 of 1 unfinished", "1", "-", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs: {"folders": [runs.parent]}, "no run in it"),
        (lambda runs: {"folders": [runs / "nowhere"]}, "nowhere: cannot be read"),
        (lambda runs: {"folders": [runs], "target": 90}, "target: 90 should be above 0 and, as an accuracy, at most 1"),
        (lambda runs: {"folders": [runs], "target": 0}, "target: 0 should be above 0"),
    ],
)
def test_bad_input_leaves_the_page_alone(tmp_path: Path, runs: Path, change: object, message: str) -> None:
    out, empty = tmp_path / "report.html", tmp_path / "empty" / "inner"
    empty.mkdir(parents=True)
    out.write_text("before")
    given = change(empty if message == "no run in it" else runs)  # type: ignore[operator]
    with pytest.raises(InputError, match=re.escape(message)):
        write_page(given.pop("folders"), out, **given)
    assert out.read_text() == "before" and sorted(each.name for each in tmp_path.iterdir()) == ["empty", "report.html"]


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ("[[1], [1, 2]]", "not a table of counts"),
        (f"[{', '.join(['[1, 2]'] * 99)}]", "99 rows for"),
    ],
    ids=["ragged", "long"],
)
def test_a_damaged_record_leaves_the_page_alone(counts: str, problem: str, own_runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    (own_runs / "dsgd-2" / "label_counts.json").write_text(counts)
    with pytest.raises(InputError, match=rf"label_counts.json: damaged \({problem}"):
        write_page([own_runs], out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("report.pdf", "should end in .html"),
        ("folder.html", "is a folder"),
        ("file.txt/report.html", "is not a folder; make it first"),
    ],
)
def test_bad_files(runs: Path, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file.txt").touch()
    with pytest.raises(InputError, match=message):
        write_page([runs], tmp_path / name)


def test_a_long_name_may_break_between_its_parts(runs: Path, tmp_path: Path) -> None:
    text = write_page([runs], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<code>strategy.<wbr>penalty_<wbr>scale</code>" in text
    assert f"<code>{str(runs / 'dsgd-1').replace('/', '/<wbr>').replace('_', '_<wbr>')}</code>" in text
    assert breakable("<a/b>") == "&lt;a/<wbr>b&gt;" and breakable("lr 0.01") == "lr 0.01"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("480.8 kB (1 of 2)", "480.8~kB (1~of~2)"), ("7 (1 of 2)", "7 (1~of~2)"), ("not reached", "not reached")],
)
def test_a_figure_does_not_break_before_its_unit(text: str, shown: str) -> None:
    assert unbroken(text).replace("\N{NO-BREAK SPACE}", "~") == shown


def test_versions_and_commands_are_told(runs: Path, tmp_path: Path) -> None:
    text = write_page([runs], tmp_path / "report.html").read_text(encoding="utf-8")
    environment = json.loads((runs / "ngpd-1" / "environment.json").read_text())
    for name in ("torch", "numpy"):
        version = environment["packages"][name]
        assert text.count(f"<dt>{name}</dt><dd>{version}</dd>") == 1
    assert f"<dt>code</dt><dd>{environment['code']}</dd>" in text and "4 of 4 runs" in text
    command = "ngpd-fl run --set model.name=&#34;softmax&#34;"  # as the shell is to get it, quotes and all
    assert text.count("--event-log</code>") == 2 and command.replace("--set ", "--set &#39;") in text
    assert text.count("--set seed=2") == 2


def test_regression_is_told_in_its_own_words(tmp_path: Path) -> None:
    from ngpd_fl.training.run import run

    run(tiny(data={"dataset": "diabetes"}), tmp_path / "run")
    page = Page(write_page([tmp_path / "run"], tmp_path / "report.html"))
    final = json.loads((tmp_path / "run" / "summary.json").read_text())["final"]
    assert page.tables["setting-1"][0][2] == "RMSE at the end"
    row = page.tables["setting-1"][-1]
    assert row[2:5] == [f"{final[key]:#.4g}" for key in ("mean_rmse", "max_rmse", "averaged_model_rmse")]
