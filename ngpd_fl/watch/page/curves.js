"use strict";

/* Curves of all runs beside each other: the measure, and the consensus distance or the training loss. */
(() => {
  const { state, on, column, element, inFrame } = live;
  const { words, dashes } = page;
  const QUANTITIES = { mean: "mean", worst: "worst node", averaged_model: "averaged model" };
  const POINTS = 300; // most points of a line; more could not be seen
  const MARKERS = 12; // markers on a line, for readers who cannot tell the colors apart
  const LARGEST = 1e100; // a value that no plot can show is left out
  const LEGEND = 6; // most lines with a legend of all; of more, it shows the line next to the pointer
  const NEAR = 60; // px from the pointer to a line that is next to it
  const PAUSE = 700; // ms between two drawings at least: drawing takes time from the rest of the page
  const section = document.getElementById("curves");
  const [quality, second] = ["quality", "second-plot"].map((id) => document.getElementById(id));
  const secondChoice = document.getElementById("second");

  const chosen = (name) => section.querySelector(`input[name=${name}]:checked`).value;

  const thinned = (values) => {
    if (values.length <= POINTS) return values;
    return [...Array(POINTS).keys()].map((place) => values[Math.round((place * (values.length - 1)) / (POINTS - 1))]);
  };

  const FITTED = { min: { pad: 0.08 }, max: { pad: 0.08 } };
  const FROM_ZERO = { min: { pad: 0, soft: 0, mode: 1 }, max: { pad: 0.08 } };
  const ROUNDS = [...Array(10).keys()].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power)); // between ticks

  /* The table of a run: a column of costs, and one of each quantity. */
  const table = (run, cost, quantities) => {
    const isKnown = column(run, cost).map((value) => value !== null);
    const known = (name) => thinned(column(run, name).filter((_, at) => isKnown[at]));
    const factor = (name) => (name in QUANTITIES ? (run.measure?.factor ?? 1) : 1);
    const value = (name) => (amount) => (Math.abs(amount ?? Infinity) < LARGEST ? factor(name) * amount : null);
    return [known(cost), ...quantities.map((name) => known(name).map(value(name)))];
  };

  /* The line of a run: its style, its name, and its values as text. */
  const line = (run, quantity, several) => {
    const style = { ...state.line_styles[run.key], ...(several ? { dash: dashes[quantity] } : {}) };
    const unit = (quantity in QUANTITIES && run.measure?.unit) || "";
    const name = several ? `${live.title(run)}, ${QUANTITIES[quantity]}` : live.title(run);
    return {
      style,
      name,
      label: element("span", [live.swatch(style), name]),
      stroke: style.color,
      width: 2,
      dash: style.dash.split(" ").map(Number),
      points: { show: false },
      value: (_, value) => (value === null ? "-" : unit ? value.toFixed(2) + unit : String(Number(value.toPrecision(4)))),
    };
  };

  /* Markers on some points of a line. */
  const mark = ({ ctx, bbox, data, series, valToPos }, place) => {
    const { style } = series[place];
    const outline = new Path2D(style.outline);
    const known = [...data[0].keys()].filter((at) => typeof data[place][at] === "number");
    const step = Math.ceil(known.length / MARKERS);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left - 5, bbox.top - 5, bbox.width + 10, bbox.height + 10);
    ctx.clip();
    ctx.fillStyle = style.color;
    for (const at of known.filter((_, place) => place % step === 0)) {
      ctx.setTransform(uPlot.pxRatio, 0, 0, uPlot.pxRatio, valToPos(data[0][at], "x", true), valToPos(data[place][at], "y", true));
      ctx.fill(outline);
    }
    ctx.restore();
  };

  /* Of many lines, the legend has that which is next to the pointer. */
  const near = ({ series }, place) => {
    series.slice(1).forEach(({ label }, at) => label.closest("tr").classList.toggle("near", at + 1 === place));
  };

  const drawIn = (plot, runs, cost, quantities, label, range) => {
    const { label: costLabel, unit } = state.costs[cost];
    const several = quantities.length > 1;
    const lines = runs.flatMap((run) => quantities.map((quantity) => line(run, quantity, several)));
    const tables = runs.map((run) => table(run, cost, quantities));
    const data = runs.length ? uPlot.join(tables, tables.map((columns) => columns.map(() => 1))) : [[]]; // 1: a null is a gap
    const kind = JSON.stringify([cost, label, lines.map(({ name, style }) => [name, style])]);
    const isMany = lines.length > LEGEND;
    plot.classList.toggle("many", isMany);
    charts.show(plot, kind, data, () => ({
      scales: { x: { time: false }, y: { range } },
      axes: [
        charts.axis(costLabel, 28, { values: (_, splits) => splits.map(unit ? words[cost] : charts.number), ...(cost === "rounds" ? { incrs: ROUNDS } : {}) }),
        charts.axis(label, 48, { values: (_, splits) => splits.map(charts.number) }),
      ],
      series: [{ label: costLabel, value: (_, value) => (value === null ? "-" : words[cost](value)) }, ...lines],
      legend: { markers: { show: false }, mount: (_, legend) => plot.after(legend) },
      cursor: { focus: { prox: isMany ? NEAR : -1 } },
      focus: { alpha: 0.25 },
      hooks: { drawSeries: [mark], setSeries: [near] },
    }));
  };

  const draw = () => {
    const runs = state.order.map((key) => state.runs.get(key)).filter((run) => run.points.length);
    section.hidden = !runs.length;
    if (!runs.length) return;
    const isKnown = (name) => runs.some((run) => column(run, name).some((value) => value !== null));
    for (const input of section.querySelectorAll("input[name=cost], input[name=quantity]")) {
      if (input.value === "all") continue;
      input.disabled = !isKnown(input.value);
      input.parentElement.classList.toggle("disabled", input.disabled);
      input.parentElement.title = input.disabled ? "not recorded by these runs" : "";
    }
    const seconds = [...secondChoice.options];
    for (const option of seconds) option.disabled = !isKnown(option.value);
    const first = seconds.find((option) => !option.disabled);
    if (first && secondChoice.selectedOptions[0].disabled) first.selected = true;
    const [cost, quantity] = [chosen("cost"), chosen("quantity")];
    const shown = runs.filter((run) => live.isShown(run.key) && column(run, cost).some((value) => value !== null));
    const quantities = quantity === "all" ? Object.keys(QUANTITIES) : [quantity];
    const measures = [...new Set(shown.map((run) => run.measure?.label).filter(Boolean))];
    const isShare = shown.every((run) => run.measure?.unit);
    const name = shown[0]?.measure?.name ?? "accuracy";
    const title = measures.length > 1 ? "Measures" : name[0].toUpperCase() + name.slice(1);
    document.getElementById("quality-head").textContent = title;
    drawIn(quality, shown, cost, quantities, measures.length === 1 ? measures[0] : "value", isShare ? FITTED : FROM_ZERO);
    const its = secondChoice.selectedOptions[0].textContent;
    document.getElementById("second-head").textContent = its[0].toUpperCase() + its.slice(1);
    drawIn(second, shown, cost, [secondChoice.value], its, FROM_ZERO);
  };

  const atOnce = inFrame(draw);
  let drawnAt = -PAUSE;
  let waiting;
  const later = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      drawnAt = performance.now();
      atOnce();
    }, Math.max(0, drawnAt + PAUSE - performance.now()));
  };
  live.drawCurves = atOnce;
  on("runs", later);
  on("theme", atOnce);
  section.addEventListener("change", atOnce);
})();
