"use strict";

/* Curves of all runs beside each other: the measure, and the consensus distance or the training loss. */
(() => {
  const { state, on, column, look, color, inFrame } = live;
  const { plain, config, layout, axis } = page;
  const QUANTITIES = { mean: "mean", worst: "worst node", averaged_model: "averaged model" };
  const DASHES = { mean: "solid", worst: "2px,3px", averaged_model: "7px,3px" };
  const COSTS = {
    round: ["rounds", ""],
    bytes: ["sent by all nodes", "B"],
    seconds: ["training time (s)", ""],
    virtual: ["virtual time (s)", ""],
    joules: ["energy of all nodes", "J"],
  };
  const POINTS = 300; // most points of a line; more could not be seen
  const LARGEST = 1e100; // a value that no plot can show is left out
  const LEGEND = 6; // most lines with a legend
  const PAUSE = 700; // ms between two drawings at least: drawing takes time from the rest of the page
  const section = document.getElementById("curves");
  const [quality, second] = ["quality", "second-plot"].map((id) => document.getElementById(id));
  const secondChoice = document.getElementById("second");

  const chosen = (name) => section.querySelector(`input[name=${name}]:checked`).value;

  const thinned = (values) => {
    if (values.length <= POINTS) return values;
    return [...Array(POINTS).keys()].map((place) => values[Math.round((place * (values.length - 1)) / (POINTS - 1))]);
  };

  const line = (run, cost, quantity, several) => {
    const { variable, dash } = look(run.key);
    const measure = run.measure ?? { factor: 1, unit: "" };
    const isMeasure = quantity in QUANTITIES;
    const factor = isMeasure ? measure.factor : 1;
    const y = thinned(column(run, quantity)).map((value) => (Math.abs(value ?? Infinity) < LARGEST ? factor * value : null));
    return {
      x: thinned(column(run, cost)),
      y,
      name: plain(several ? `${live.title(run)}, ${QUANTITIES[quantity]}` : live.title(run)),
      type: "scatter",
      mode: y.length > 1 ? "lines" : "markers",
      line: { color: color(variable), width: 2, dash: several ? DASHES[quantity] : dash },
      hovertemplate: `%{y:.4~g}${isMeasure ? plain(measure.unit) : ""}, ${plain(COSTS[cost][0])} %{x:.4~s}<extra>%{fullData.name}</extra>`,
    };
  };

  const themed = (own) => {
    const [ink, grid, edge, ground] = ["ink", "line", "edge", "ground"].map(color);
    const shared = layout(own);
    shared.font = { ...shared.font, color: ink };
    shared.hoverlabel = { bgcolor: ground, bordercolor: edge, font: { color: ink } };
    for (const name of ["xaxis", "yaxis"]) shared[name] = { ...shared[name], gridcolor: grid, linecolor: edge };
    return shared;
  };
  live.themed = themed;

  const drawIn = (plot, lines, cost, yAxis) => {
    const [label, unit] = COSTS[cost];
    const isShort = cost === "round" && lines.every((each) => (each.x.at(-1) ?? 0) < 8);
    const own = themed({
      margin: { l: 58, r: 10, t: 8, b: 44 },
      hovermode: "closest",
      uirevision: cost, // a zoom stays while the run goes on
      showlegend: lines.length > 1 && lines.length <= LEGEND, // the table of runs has the lines as well
      legend: { orientation: "h", y: -0.2, yanchor: "top", font: { size: 11 } },
      xaxis: axis(label, { rangemode: "tozero", ticksuffix: unit, tickformat: unit ? "~s" : "", ...(isShort ? { dtick: 1 } : {}) }),
      yaxis: yAxis,
    });
    Plotly.react(plot, lines, own, config);
  };

  const draw = () => {
    if (typeof Plotly === "undefined") return;
    const runs = state.order.map((key) => state.runs.get(key)).filter((run) => run.points.length);
    section.hidden = !runs.length;
    if (!runs.length) return;
    for (const input of section.querySelectorAll("input[name=cost], input[name=quantity]")) {
      if (input.value === "all") continue;
      const known = runs.some((run) => column(run, input.value).some((value) => value !== null));
      input.disabled = !known;
      input.parentElement.classList.toggle("disabled", !known);
      input.parentElement.title = known ? "" : "not recorded by these runs";
    }
    const [cost, quantity] = [chosen("cost"), chosen("quantity")];
    const shown = runs.filter((run) => live.isShown(run.key) && column(run, cost).some((value) => value !== null));
    const quantities = quantity === "all" ? Object.keys(QUANTITIES) : [quantity];
    const measures = [...new Set(shown.map((run) => run.measure?.label).filter(Boolean))];
    const isShare = shown.every((run) => run.measure?.unit);
    const name = shown[0]?.measure?.name ?? "accuracy";
    const title = measures.length > 1 ? "Measures" : name[0].toUpperCase() + name.slice(1);
    document.getElementById("quality-head").textContent = title;
    const lines = shown.flatMap((run) => quantities.map((each) => line(run, cost, each, quantities.length > 1)));
    const label = measures.length === 1 ? measures[0] : "value";
    drawIn(quality, lines, cost, axis(label, isShare ? {} : { rangemode: "tozero" }));
    const words = secondChoice.selectedOptions[0].textContent;
    document.getElementById("second-head").textContent = words[0].toUpperCase() + words.slice(1);
    drawIn(second, shown.map((run) => line(run, cost, secondChoice.value, false)), cost, axis(words, { rangemode: "tozero" }));
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
  live.withPlotly(atOnce);
})();
