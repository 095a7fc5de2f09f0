"""The curves show the recorded numbers, with their units, in colors that can be told apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ngpd_fl.config import Config
from ngpd_fl.report import Outcome
from ngpd_fl.report.colors import method_color
from ngpd_fl.report.costs import BYTES, ROUNDS, SECONDS, Cost
from ngpd_fl.report.pictures.curves import consensus_figure, measure_figure

MakeOutcome = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("cost", "label", "spent"),
    [
        (ROUNDS, "rounds", [0, 1, 2, 3, 4, 5]),
        (BYTES, "sent by all nodes", [0, 160e3, 320e3, 480e3, 640e3, 800e3]),
        (SECONDS, "training time (s)", [0, 0.5, 1, 1.5, 2, 2.5]),
    ],
)
def test_accuracy(make_outcome: MakeOutcome, cost: Cost, label: str, spent: list[float]) -> None:
    outcome = make_outcome()
    (axes,) = measure_figure([outcome], cost).axes
    averaged, mean = axes.lines
    np.testing.assert_allclose(mean.get_xdata(), spent)
    np.testing.assert_allclose(mean.get_ydata(), [100 * each.mean_accuracy for each in outcome.metrics])
    np.testing.assert_allclose(averaged.get_ydata(), 50)
    assert averaged.get_linestyle() != mean.get_linestyle()
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((10, 100 * outcome.metrics[-1].max_accuracy))
    assert (axes.get_xlabel(), axes.get_ylabel()) == (label, "test accuracy (%)")


@pytest.mark.parametrize(("num_bytes", "text"), [(0, "0 B"), (200, "200 B"), (1400, "1.4 kB"), (2e9, "2 GB")])
def test_bytes_are_read_in_their_unit(make_outcome: MakeOutcome, num_bytes: float, text: str) -> None:
    (axes,) = measure_figure([make_outcome()], BYTES).axes
    assert axes.xaxis.get_major_formatter()(num_bytes) == text


def test_errors(make_regression: MakeOutcome) -> None:
    outcome = make_regression(mean_rmse=None)  # not finite in the end: the line ends before
    (axes,) = measure_figure([outcome], ROUNDS).axes
    _, mean = axes.lines
    np.testing.assert_allclose(
        mean.get_ydata(), [*(100 - 90 * (0.1015 + 0.05 * round) for round in range(5)), math.nan]
    )
    assert axes.get_ylabel() == "test RMSE (unit of the targets)"
    assert axes.texts[0].get_text() == "ngpd: RMSE against rounds"
    (axes,) = measure_figure([outcome, make_regression("ecl")], ROUNDS).axes
    assert axes.texts[0].get_text() == "RMSE against rounds"


def test_the_title_says_the_setting(make_outcome: MakeOutcome) -> None:
    (axes,) = measure_figure([make_outcome()], ROUNDS).axes
    assert axes.texts[0].get_text() == "ngpd: accuracy against rounds"
    assert axes.get_title(loc="left").startswith("ring of 4 nodes; digits, classes (classes_per_node 2); 5 rounds")


def legend(outcomes: list[Outcome]) -> dict[str, str]:
    handles = measure_figure(outcomes, ROUNDS).legends[0].legend_handles
    return {line.get_label(): line.get_color() for line in handles}


def test_runs_have_the_colors_of_their_algorithms_whatever_is_beside_them(make_outcome: MakeOutcome) -> None:
    runs = [of(make_outcome(name), name) for name in ("ngpd", "dsgd", "ecl")]
    assert legend(runs) == {name: method_color(name) for name in ("ngpd", "dsgd", "ecl")} == legend(runs[::-1])
    assert legend(runs[1:]) == {name: method_color(name) for name in ("dsgd", "ecl")}


def test_runs_of_one_algorithm_differ(make_outcome: MakeOutcome) -> None:
    runs = [make_outcome(name) for name in ("slow", "quick", "third")]
    assert len(set(legend(runs).values())) == 3
    two = [*runs[:2], of(make_outcome("dsgd"), "dsgd")]
    (axes,) = measure_figure(two, ROUNDS).axes
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines[1::2]}) == 3


def test_the_best_run_comes_first_in_the_legend(make_outcome: MakeOutcome) -> None:
    means = {"b": 0.3, "c": 0.9, "a": 0.6}
    assert list(legend([make_outcome(name, mean_accuracy=mean) for name, mean in means.items()])) == ["c", "a", "b"]


def of(outcome: Outcome, strategy: str) -> Outcome:
    """The same run, of another algorithm."""
    return replace(outcome, config=outcome.config.model_copy(update={"strategy": Config(strategy=strategy).strategy}))


def test_a_run_that_did_not_finish_says_so(make_outcome: MakeOutcome) -> None:
    outcomes = [make_outcome("ngpd"), make_outcome("dsgd", status="diverged")]
    legend = measure_figure(outcomes, ROUNDS).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["ngpd", "dsgd\n(diverged)"]


def test_consensus_leaves_out_the_start_and_what_is_not_finite(make_outcome: MakeOutcome) -> None:
    (axes,) = consensus_figure([make_outcome(consensus_distance=math.inf)]).axes
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(line.get_ydata(), [0.1, 0.2, 0.3, 0.4])
    assert 0.9 < axes.get_xlim()[0] < 1 and axes.get_xlim()[1] == pytest.approx(5.1)
    assert axes.get_yscale() == "linear"


def test_consensus_over_orders_of_magnitude_is_logarithmic(make_outcome: MakeOutcome) -> None:
    (axes,) = consensus_figure([make_outcome(consensus_distance=1e9)]).axes
    assert axes.get_yscale() == "log"


def test_nothing_but_the_start(make_outcome: MakeOutcome) -> None:
    for outcome in (make_outcome(rounds=0), make_outcome(rounds=1, consensus_distance=0.0)):
        assert consensus_figure([outcome]).axes[0].get_xlim()[1] >= 1
        assert measure_figure([outcome], BYTES).axes[0].get_xlim()[1] > 0
