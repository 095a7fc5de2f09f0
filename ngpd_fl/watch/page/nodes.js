"use strict";

/* The nodes of one run: choices, words about a node, the table, and faults and events. */
(() => {
  const { state, on, figure, element } = live;
  const at = (id) => document.getElementById(id);
  const [runChoice, nodeChoice, edgeChoice] = ["run", "node-quantity", "edge-quantity"].map(at);
  const EDGES = { // the first that a run has is shown at first
    waited: "seconds waited for messages",
    staleness: "staleness of the last message (rounds)",
    messages: "messages sent",
    lost: "messages lost",
  };
  const ROWS = 200; // most nodes in the table, the worst first
  let graphKey = null;
  let isChosen = false; // whether the reader has chosen a run
  let fingered = -1; // the node that is pointed at

  const options = (choice, wanted) => {
    const now = [...choice.options].map((option) => `${option.value}\n${option.textContent}`).join();
    if (now === wanted.map(([value, text]) => `${value}\n${text}`).join()) return;
    const before = choice.value;
    choice.replaceChildren(...wanted.map(([value, text]) => element("option", text, { value })));
    if (wanted.some(([value]) => value === before)) choice.value = before;
  };

  const { name } = graphView;
  const quantity = () => state.detail?.quantities[nodeChoice.value] ?? null;
  const measured = (value) => {
    const its = quantity();
    return its ? figure(its, value) : "-";
  };

  const describe = (node) => {
    const { layout } = graphView.view;
    if (node < 0 || !layout) return;
    const neighbors = layout.ends?.flatMap(([i, j]) => (i === node ? [j] : j === node ? [i] : [])) ?? [];
    const shown = neighbors.slice(0, 12).map(name).join(", ") + (neighbors.length > 12 ? ", ..." : "");
    const value = quantity()?.values[node] ?? null;
    const says = value === null ? "not evaluated" : `${quantity().label.replace(" (%)", "")} ${measured(value)}`;
    at("node-text").textContent = `Node ${name(node)}: ${says}; ${neighbors.length} neighbors${shown ? ` (${shown})` : ""}`;
  };

  const drawTable = () => {
    const table = at("node-table");
    if (!table.open) return;
    const its = quantity();
    const rank = (value) => (value === null ? -Infinity : its.higher ? value : -value);
    const nodes = (its?.values ?? []).map((value, node) => [node, value]).sort((one, other) => rank(one[1]) - rank(other[1]));
    const rows = nodes.slice(0, ROWS).map(([node, value]) =>
      element("tr", [element("th", name(node), { scope: "row" }), element("td", measured(value), { className: "number" })]));
    table.querySelector("tbody").replaceChildren(...rows);
  };

  const span = (values) => {
    const known = values.filter((value) => value !== null && value !== undefined);
    return known.length ? known.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]) : null;
  };

  const drawScales = () => {
    const parts = [];
    const its = quantity();
    const range = its && span(its.values);
    if (range) parts.push(element("span", [element("span", `${its.label.replace(" (%)", "")} ${measured(range[0])}`), graphView.scale(), element("span", measured(range[1]))]));
    const edges = state.detail?.edges[edgeChoice.value];
    const most = edges && span(edges);
    if (most) parts.push(element("span", `edges by ${EDGES[edgeChoice.value]}: thin and gray none, wide ${most[1]}`));
    at("scales").replaceChildren(...parts);
    const words = range ? `, ${its.label} from ${measured(range[0])} to ${measured(range[1])}` : "";
    graphView.canvas.setAttribute("aria-label", `Graph of ${its?.values.length ?? 0} nodes${words}`);
  };

  const drawNodes = () => {
    const { detail } = state;
    if (!detail) return;
    options(nodeChoice, Object.entries(detail.quantities).map(([key, its]) => [key, its.label]));
    const known = Object.keys(EDGES).filter((key) => detail.edges[key]);
    const first = !edgeChoice.options.length || (edgeChoice.disabled && known.length);
    options(edgeChoice, [["", "nothing"], ...known.map((key) => [key, EDGES[key]])]);
    edgeChoice.disabled = !known.length;
    if (first && known.length) edgeChoice.value = known[0];
    at("edge-why").hidden = known.length > 0;
    const its = quantity();
    if (its) graphView.showValues(its.values, its.higher);
    graphView.showEdges(detail.edges[edgeChoice.value] ?? []);
    drawScales();
    drawTable();
    if (fingered >= 0) describe(fingered);
  };

  const fetchGraph = async () => {
    const { detail } = state;
    if (!detail || detail.graph === graphKey) {
      drawNodes();
      return;
    }
    graphKey = detail.graph;
    fingered = -1;
    graphView.showLayout(null);
    at("graph-head").textContent = graphKey ? "Graph" : "Graph: this run has none";
    if (!graphKey) {
      drawNodes();
      return;
    }
    try {
      const answer = await fetch(`graph?run=${encodeURIComponent(detail.run)}`);
      const layout = await answer.json();
      if (layout.key !== graphKey) return;
      graphView.showLayout(layout);
      at("graph-head").textContent = `Graph: ${layout.words}${layout.problem ? ` (${layout.problem})` : ""}`;
      drawNodes();
    } catch {
      graphKey = null; // the server has ended; the next stream asks again
    }
  };

  const DROPPED = { lost: "messages lost", absent: "messages to nodes that were away", outdated: "messages replaced by newer ones", duplicate: "duplicates dropped" };

  const drawEvents = () => {
    const { detail } = state;
    if (!detail) return;
    const run = state.runs.get(detail.run);
    const items = [];
    const add = (when, what) => items.push(element("li", [element("span", when, { className: "when" }), element("span", what)]));
    if (run) add("now", `${run.status}, round ${run.round} of ${run.planned}`);
    if (run?.target && run.points.length) {
      const column = state.columns.indexOf("mean");
      const reached = run.points.find((point) => point[column] !== null && point[column] >= run.target);
      add("target", reached ? `${figure(run.measure, run.target)} reached in round ${reached[0]}` : `${figure(run.measure, run.target)} not reached yet`);
    }
    for (const [what, count] of Object.entries(detail.counts)) if (DROPPED[what]) add("so far", `${DROPPED[what]}: ${count}`);
    for (const { time, node, what, round } of detail.notices) add(`${Number(time.toPrecision(5))} s`, `node ${name(node)} ${what} (round ${round})`);
    for (const { round, changes } of detail.resumed) add(`round ${round}`, `resumed elsewhere: ${changes.join(", ")}`);
    for (const [fault, value] of Object.entries(detail.faults)) add("planned", `${fault}: ${value}`);
    if (detail.problem) add("problem", detail.problem);
    at("events").replaceChildren(...items);
  };

  const chooseRun = () => {
    const { order, runs } = state;
    at("nodes").hidden = !order.length;
    if (!order.length) return;
    options(runChoice, order.map((key) => [key, live.title(runs.get(key))]));
    if (isChosen) live.choose(runChoice.value); // another one, if that which was chosen is gone
  };

  on("runs", () => {
    chooseRun();
    drawEvents();
  });
  on("detail", () => {
    if (!isChosen) runChoice.value = state.detail.run;
    fetchGraph();
    drawEvents();
  });
  runChoice.addEventListener("change", () => {
    isChosen = true;
    live.choose(runChoice.value);
  });
  nodeChoice.addEventListener("change", drawNodes);
  edgeChoice.addEventListener("change", drawNodes);
  at("node-table").addEventListener("toggle", drawTable);

  const point = (node) => {
    fingered = node;
    graphView.choose(node);
    describe(node);
  };
  graphView.canvas.addEventListener("pointermove", (event) => {
    const node = graphView.nodeAt(event.offsetX, event.offsetY);
    if (node >= 0 && node !== fingered) point(node);
  });
  graphView.canvas.addEventListener("keydown", (event) => {
    const number = graphView.view.layout?.nodes[0].length ?? 0;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !number) return;
    event.preventDefault();
    point((fingered + step + number) % number);
  });
})();
