"use strict";

/* Plots of a report: curves of runs, and the timeline of nodes. */
const plots = (() => {
  const { plain, color, dashes, activityColor, config, layout, axis } = page;
  const MARKERS = 12; // markers on a line, for readers who cannot tell the colors apart
  const FEW = 8; // rounds of which each has a tick
  const PATTERNS = { computes: "", "computes in vain": "/", waits: ".", "is away": "x" };

  const plotlyDash = (dash) => (dash ? dash.split(" ").map((length) => `${length}px`).join(",") : "solid");

  /* A line with the style of its runs; of several quantities of the same runs, each has its own dashes. */
  const line = ({ style, quantity, several, y, sd = [], unit, cost, ...own }) => {
    const number = (value) => (unit ? value.toFixed(2) : String(Number(value.toPrecision(4))));
    const alike = (value, mean) => (mean.includes("e") ? number(value) : value.toFixed(mean.split(".")[1]?.length ?? 0));
    return {
      type: "scatter",
      mode: "lines+markers",
      y,
      line: { color: style.color, width: 2, dash: plotlyDash(several ? dashes[quantity] : style.dash) },
      marker: { symbol: style.symbol, size: 7, maxdisplayed: MARKERS },
      text: y.map((value, at) => (value === null ? "" : plain(`${number(value)}${sd[at] ? ` ± ${alike(sd[at], number(value))}` : ""}${unit}`))),
      hovertemplate: `%{text}, ${plain(cost.label)} %{x:.4~s}<extra>%{fullData.name}</extra>`,
      ...own,
    };
  };

  /* Layout of curves against a cost. */
  const against = (cost, lines, own) => {
    const isShort = cost.label === "rounds" && lines.every(({ x }) => (x.at(-1) ?? 0) < FEW);
    const ticks = { ticksuffix: cost.unit, tickformat: cost.unit ? "~s" : "", ...(isShort ? { dtick: 1 } : {}) };
    return layout({ hovermode: "closest", xaxis: axis(cost.label, { rangemode: "tozero", ...ticks }), ...own });
  };

  /* Draw who computes, waits and is away. */
  const timeline = (plot, { nodes, intervals, end }, kinds, name) => {
    const label = (place) => `node ${plain(name(nodes[place]))}`;
    const bars = Object.entries(intervals).map(([kind, each]) => ({
      type: "bar",
      orientation: "h",
      name: kind,
      base: each.map(([, start]) => start),
      x: each.map(([, , length]) => length),
      y: each.map(([place]) => label(place)),
      hovertemplate: "%{y} %{fullData.name} for %{x:.4~g} s from %{base:.4~g} s<extra></extra>",
      marker: {
        color: activityColor(kind, kinds),
        line: { color: color("ground"), width: 0.5 },
        pattern: { shape: PATTERNS[kind], fgcolor: color("faint"), size: 6, solidity: 0.25, fillmode: "overlay" },
      },
    }));
    plot.style.height = `${110 + 20 * nodes.length}px`;
    const own = layout({
      barmode: "overlay",
      bargap: 0.25,
      margin: { l: 70, r: 12, t: 34, b: 48 },
      hovermode: "closest",
      showlegend: true,
      xaxis: axis("virtual time (s)", { range: [0, end] }),
      yaxis: { autorange: "reversed", type: "category", categoryarray: nodes.map((_, place) => label(place)) },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
    });
    Plotly.react(plot, bars, own, config);
  };

  return { line, against, timeline };
})();
