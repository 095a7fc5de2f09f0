"use strict";

/* Who computes, waits and is away: a row of bars for each node. The pointer says for whom a node waits. */
(() => {
  const { state, on, element, inFrame } = live;
  const { color, activityColor } = page;
  const { name } = graphView;
  const [part, plot, legend, intervalText, waitsText] = ["timeline-part", "timeline", "kinds", "interval", "waits"].map((id) => document.getElementById(id));
  const MARKS = { "computes in vain": "M0 6L6 0", waits: "M2.5 3h1", "is away": "M0 0L6 6M0 6L6 0" }; // on a tile of 6 x 6
  const BAR = 0.72; // height of a bar as a share of its row
  let shown = null;

  const pattern = (context, kind) => {
    const tile = Object.assign(document.createElement("canvas"), { width: 6, height: 6 }).getContext("2d");
    tile.fillStyle = activityColor(kind, shown.kinds);
    tile.fillRect(0, 0, 6, 6);
    tile.strokeStyle = color("faint");
    if (MARKS[kind]) tile.stroke(new Path2D(MARKS[kind]));
    return context.createPattern(tile.canvas, "repeat");
  };

  const drawBars = ({ ctx, bbox, valToPos }) => {
    const height = bbox.height / shown.nodes.length;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const [kind, intervals] of Object.entries(shown.intervals)) {
      ctx.fillStyle = pattern(ctx, kind);
      for (const [row, begin, length] of intervals) {
        const [left, right] = [begin, begin + length].map((time) => valToPos(time, "x", true));
        ctx.fillRect(left, bbox.top + (row + (1 - BAR) / 2) * height, Math.max(right - left, 0.5), BAR * height);
      }
    }
    ctx.restore();
  };

  const number = (value, digits) => String(Number(value.toPrecision(digits)));

  /* Say what the node at the pointer does. */
  const describe = ({ cursor: { left, top }, posToVal, over }) => {
    const [time, at] = [posToVal(left, "x"), Math.floor((top / over.clientHeight) * shown.nodes.length)];
    const words = Object.entries(shown.intervals).flatMap(([kind, intervals]) => intervals
      .filter(([row, begin, length]) => row === at && begin <= time && time <= begin + length)
      .map(([, begin, length, whom]) => `${kind}${Number.isInteger(whom) ? ` for node ${name(whom)}` : ""}, ${number(length, 4)} s from ${number(begin, 4)} s`));
    intervalText.textContent = left >= 0 && words.length ? `Node ${name(shown.nodes[at])} ${words[0]}.` : "Point at a bar to read it.";
  };

  const drawLegend = () => {
    legend.replaceChildren(...Object.keys(shown.intervals).map((kind) => {
      const swatch = Object.assign(document.createElement("canvas"), { width: 24, height: 12 });
      const context = swatch.getContext("2d");
      context.fillStyle = pattern(context, kind);
      context.fillRect(0, 0, 24, 12);
      return element("span", [swatch, kind]);
    }));
  };

  const sayLongest = () => {
    const waits = new Map();
    for (const [place, , length, whom] of shown.intervals.waits ?? []) {
      if (whom === null) continue;
      const pair = `${name(shown.nodes[place])} for ${name(whom)}`;
      waits.set(pair, (waits.get(pair) ?? 0) + length);
    }
    const longest = [...waits].sort((one, other) => other[1] - one[1]).slice(0, 3);
    waitsText.textContent = longest.length
      ? `Longest waits shown: ${longest.map(([pair, seconds]) => `node ${pair}, ${number(seconds, 3)} s`).join("; ")}.`
      : "No node waits for another one here.";
  };

  const draw = inFrame(() => {
    shown = state.detail?.timeline ?? null;
    part.hidden = !shown;
    if (!shown) return;
    const { nodes, begin, end } = shown;
    const names = nodes.map((node) => `node ${name(node)}`.slice(0, 12));
    plot.style.height = `${60 + 20 * nodes.length}px`;
    charts.show(plot, JSON.stringify(names), [[begin, end], [null, null]], () => ({
      scales: { x: { time: false }, y: { range: [0, nodes.length], dir: -1 } },
      axes: [
        charts.axis("virtual time (s)", 28, { values: (_, splits) => splits.map(charts.number) }),
        charts.axis(undefined, 80, { splits: nodes.map((_, row) => row + 0.5), values: names, grid: { show: false } }),
      ],
      series: [{}, { points: { show: false } }],
      legend: { show: false },
      cursor: { y: false, points: { show: false } },
      hooks: { draw: [drawBars], setCursor: [describe] },
    }));
    drawLegend();
    sayLongest();
  });

  on("detail", draw);
  on("theme", draw);
})();
