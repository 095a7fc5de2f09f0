"use strict";

/* Curves of all runs beside each other: the measure, and the consensus distance or the training loss. */
(() => {
  const { state, on, column, inFrame } = live;
  const { plain, config, axis } = page;
  const QUANTITIES = { mean: "mean", worst: "worst node", averaged_model: "averaged model" };
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
    const { factor, unit } = (quantity in QUANTITIES && run.measure) || { factor: 1, unit: "" };
    return plots.line({
      look: state.looks[run.key],
      quantity,
      several,
      x: thinned(column(run, cost)),
      y: thinned(column(run, quantity)).map((value) => (Math.abs(value ?? Infinity) < LARGEST ? factor * value : null)),
      unit,
      cost: state.costs[cost],
      name: plain(several ? `${live.title(run)}, ${QUANTITIES[quantity]}` : live.title(run)),
    });
  };

  const drawIn = (plot, lines, cost, yaxis) => {
    const own = plots.against(state.costs[cost], lines, {
      margin: { l: 58, r: 10, t: 8, b: 44 },
      uirevision: cost, // a zoom stays while the run goes on
      showlegend: lines.length > 1 && lines.length <= LEGEND, // the table of runs has the lines as well
      legend: { orientation: "h", y: -0.2, yanchor: "top", font: { size: 11 } },
      yaxis,
    });
    if (typeof Plotly === "undefined") {
      live.sketch(plot, lines, own);
      return;
    }
    plot.querySelector(".sketch")?.remove();
    Plotly.react(plot, lines, own, config);
  };

  const draw = () => {
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
