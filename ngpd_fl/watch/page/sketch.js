"use strict";

/* Curves before Plotly is there, which is large: the same lines, axes and colors, without a pointer's figures. */
live.sketch = (() => {
  const { color } = page;
  const { shape } = live;
  const TICKS = 5;

  /* The ends of an axis, and about five round numbers between them. */
  const scale = (values, toZero) => {
    const known = values.filter((value) => value !== null);
    if (toZero || !known.length) known.push(0);
    const [least, high] = known.reduce(([low, most], value) => [Math.min(low, value), Math.max(most, value)], [Infinity, -Infinity]);
    const span = high / 2 - least / 2 || Math.abs(high / 2) || 1;
    const low = toZero && least === 0 ? 0 : least - span / 9;
    const end = high + span / 9;
    const power = 10 ** Math.floor(Math.log10((end - low) / TICKS));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power * TICKS >= end - low);
    const first = Math.ceil(low / step);
    const ticks = [...Array(Math.max(0, Math.min(2 * TICKS, Math.floor(end / step) - first + 1))).keys()].map((at) => (first + at) * step);
    return { share: (value) => (value - low) / (end - low), ticks };
  };

  return (plot, lines, { margin, xaxis, yaxis }) => {
    const [width, height] = [plot.clientWidth - margin.l - margin.r, plot.clientHeight - margin.t - margin.b];
    const [across, up] = [
      scale(lines.flatMap(({ x }) => x), true),
      scale(lines.flatMap(({ y }) => y), yaxis.rangemode === "tozero"),
    ];
    const [x, y] = [(value) => width * across.share(value), (value) => height * (1 - up.share(value))];
    const number = (value, { tickformat, ticksuffix = "" }) =>
      (tickformat ? page.words.bytes(value).replace(/ ?B$/, ticksuffix) : String(Number(value.toPrecision(6))));
    const inside = shape("g", { transform: `translate(${margin.l} ${margin.t})` });
    const text = (content, own) => shape("text", { fill: color("ink"), "font-size": 13, "text-anchor": "middle", ...own }, content);
    for (const value of up.ticks) {
      inside.append(shape("path", { d: `M0 ${y(value)}H${width}`, stroke: color("line") }));
      inside.append(text(number(value, yaxis), { x: -4, y: y(value) + 4, "text-anchor": "end" }));
    }
    for (const value of across.ticks) {
      inside.append(shape("path", { d: `M${x(value)} 0V${height}`, stroke: color("line") }));
      inside.append(text(number(value, xaxis), { x: x(value), y: height + 15 }));
    }
    inside.append(text(xaxis.title.text, { x: width / 2, y: height + 36 }));
    inside.append(text(yaxis.title.text, { transform: `translate(${14 - margin.l} ${height / 2}) rotate(-90)` }));
    for (const { x: costs, y: values, line } of lines) {
      const known = values.flatMap((value, at) => (value === null || costs[at] === null ? [] : [`${x(costs[at])} ${y(value)}`]));
      if (!known.length) continue;
      const dash = line.dash === "solid" ? "none" : line.dash.replaceAll("px", "");
      inside.append(shape("path", { d: `M${known.join("L")}h0`, fill: "none", stroke: line.color, "stroke-width": line.width, "stroke-linecap": "round", "stroke-dasharray": dash }));
    }
    plot.replaceChildren(shape("svg", { class: "sketch", width: "100%", height: "100%", "aria-hidden": "true" }, inside));
  };
})();
