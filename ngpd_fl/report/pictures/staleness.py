"""Picture of staleness: the ages of the messages that nodes have received."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ngpd_fl.config import Config
from ngpd_fl.report.colors import PALETTE
from ngpd_fl.report.pictures.style import INK, LIGHT, dress, new_figure
from ngpd_fl.report.setting import setting_words
from ngpd_fl.report.table import mean_age

_BARS = 40
"""Most bars; with more ages, each bar covers several."""


def staleness_figure(config: Config, ages: Mapping[str, int]) -> Figure:
    """Draw the share of messages by age in rounds of the receiver, from age 0."""
    oldest, number = max(map(int, ages)), sum(ages.values())
    width = oldest // _BARS + 1
    shares = [0.0] * (oldest // width + 1)
    for age, count in ages.items():
        shares[int(age) // width] += count / number
    figure = new_figure(7.2, 4.2)
    axes = figure.add_subplot()
    dress(axes, f"{config.method}: age of the received messages", setting_words(config))
    middles = [index * width + (width - 1) / 2 for index in range(len(shares))]
    axes.bar(middles, shares, width=0.86 * width, color=PALETTE[0])
    mean = mean_age(ages)
    axes.axvline(mean, color=PALETTE[1], linewidth=1.4, linestyle=(0, (4, 2)))
    axes.annotate(f"mean {mean:.2f}", (mean, 1), xytext=(5, -4), xycoords=("data", "axes fraction"),
                  textcoords="offset points", va="top", color=INK, fontsize=9.5)  # fmt: skip
    axes.set_xlim(-0.7, max(oldest, 3) + 0.7)
    axes.set_ylim(0, 1.12 * max(shares))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    axes.grid(axis="y", color=LIGHT)
    axes.set_xlabel("age (rounds of the receiver)")
    axes.set_ylabel(f"of {number:,} messages")
    return figure
