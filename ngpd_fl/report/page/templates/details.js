"use strict";

/* One chosen run: the graph with its nodes' values over the rounds, the partition, and the timeline of the nodes. */
(() => {
  const { data, plain, color, config, layout, axis, whenSeen } = page;
  const choice = document.getElementById("run");
  if (!choice) return;
  const [slider, play, roundText] = ["round", "play", "round-text"].map((id) => document.getElementById(id));
  const [graphPlot, partitionPlot, timelinePlot] = ["graph", "partition", "timeline"].map((id) => document.getElementById(id));

  const STEP = 350; // ms from one evaluation to the next when played
  const LABELED = 64; // most nodes with names in the graph
  const CELLS = 300; // most cells with counts in the heat map

  const run = () => data.details.runs[Number(choice.value)];
  const measureOf = (each) => data.cells[each.cell].measure;

  const unseen = { showgrid: false, zeroline: false, visible: false };

  /* Values of the nodes at the slider's evaluation, in the unit shown. */
  const values = (each) => {
    const { factor } = measureOf(each);
    return (each.values[Number(slider.value)] ?? []).map((value) => (value === null ? null : factor * value));
  };

  /* The scale fits the nodes of the evaluation; it spans five points, or 5 %, so that small differences look small. */
  const ends = (each) => {
    const known = values(each).filter((value) => value !== null);
    if (!known.length) return [0, 1];
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const least = measureOf(each).unit ? 5 : 0.025 * Math.abs(low + high);
    const more = Math.max(0, least - (high - low)) / 2; // added to the ends: a middle +- a half may round a node out
    return [low - more, high + more];
  };

  /* Name of a node: its label or its number. */
  const name = (each, node) => plain(data.details.graphs[each.graph].names[node] ?? String(node));

  const nodeTexts = (each, shown) => {
    const { unit, name: measure } = measureOf(each);
    const text = (value) => (value === null ? "not evaluated" : `${measure} ${Number(value.toPrecision(3))}${unit}`);
    return shown.map((value, node) => `node ${name(each, node)}: ${text(value)}`);
  };

  /* The node's name and, if there is room, its value, for readers who cannot tell the colors apart. */
  const nodeLabel = (node, value, size) =>
    size >= 30 && value !== null ? `<b>${node}</b><br>${Number(value.toPrecision(2))}` : node;

  const drawGraph = () => {
    const each = run();
    const graph = data.details.graphs[each.graph];
    const [x, y] = graph.nodes;
    const shown = values(each);
    const { label, higher_is_better: higher } = measureOf(each);
    const size = Math.max(7, Math.min(42, 0.62 * graph.spacing * Math.min(graphPlot.clientWidth - 110, 400)));
    const [low, high] = ends(each);
    const edges = {
      x: graph.edges.flatMap(([across]) => [...across, null]),
      y: graph.edges.flatMap(([, up]) => [...up, null]),
      mode: "lines",
      line: { color: color("edge"), width: Math.max(0.4, Math.min(1.6, 20 / Math.sqrt(graph.edges.length))) },
      hoverinfo: "skip",
    };
    const middle = low + (higher ? 0.55 : 0.45) * (high - low);
    const dark = (value) => value !== null && (higher ? value < middle : value > middle);
    const long = graph.names.some((each) => each.length > 4); // such names are below their nodes
    const nodes = {
      x,
      y,
      mode: x.length <= LABELED ? "markers+text" : "markers",
      textposition: long ? "bottom center" : "middle center",
      text: x.map((_, node) => nodeLabel(name(each, node), shown[node] ?? null, size)),
      textfont: { size: Math.min(12, 0.25 * size + 4), color: x.map((_, node) => (long ? color("ink") : dark(shown[node] ?? null) ? "#ffffff" : "#1d2329")) },
      hovertext: nodeTexts(each, shown),
      hoverinfo: "text",
      marker: {
        size,
        color: shown.map((value) => value ?? low),
        opacity: 1,
        cmin: low,
        cmax: high,
        colorscale: "Cividis",
        reversescale: !higher,
        showscale: true,
        colorbar: { title: { text: plain(label), side: "right" }, thickness: 12, outlinewidth: 0 },
        line: { color: shown.map((value) => (value === null ? "#D55E00" : color("ground"))), width: 1 },
      },
    };
    const own = layout({
      margin: { l: 8, r: 8, t: 8, b: 8 },
      showlegend: false,
      hovermode: "closest",
      xaxis: { ...unseen },
      yaxis: { ...unseen, scaleanchor: "x" },
    });
    Plotly.react(graphPlot, [edges, nodes], own, config);
  };

  const showRound = () => {
    const each = run();
    const known = values(each).filter((value) => value !== null);
    const { unit, name } = measureOf(each);
    const digits = unit ? 1 : 2;
    const range = known.length
      ? `, ${name} of the nodes ${Math.min(...known).toFixed(digits)} to ${Math.max(...known).toFixed(digits)}${unit}`
      : "";
    roundText.textContent = `round ${each.rounds[Number(slider.value)] ?? 0}${range}`;
  };

  const drawPartition = () => {
    const each = run();
    const { labels, cell } = each;
    partitionPlot.hidden = !labels;
    document.getElementById("partition-why").hidden = Boolean(labels);
    if (!labels) return;
    const classes = labels.counts[0].map((_, group) => group);
    const z = classes.map((group) => labels.counts.map((row) => row[group] || null));
    const map = {
      type: "heatmap",
      z,
      zmin: 0, // so that small differences look small
      zmax: Math.max(...labels.counts.flat()),
      colorscale: [[0, color("few")], [0.5, color("some")], [1, color("many")]],
      xgap: 1,
      ygap: 1,
      colorbar: { title: { text: "examples", side: "right" }, thickness: 12, outlinewidth: 0 },
      hovertemplate: `node %{x}, ${plain(labels.group)} %{y}: %{z} examples<extra></extra>`,
      texttemplate: labels.counts.length * classes.length <= CELLS ? "%{z}" : "",
    };
    const named = (each, number) => {
      if (number > 17) return {};
      const nodes = [...Array(number).keys()];
      return { tickmode: "array", tickvals: nodes, ticktext: nodes.map((node) => name(each, node)) };
    };
    const whole = (number) => ({ tick0: 0, dtick: Math.ceil(number / 17), showgrid: false, linecolor: "rgba(0,0,0,0)" });
    const own = layout({
      xaxis: axis("node", { ...whole(labels.counts.length), ...named(each, labels.counts.length) }),
      yaxis: axis(labels.group, whole(classes.length)),
    });
    Plotly.react(partitionPlot, [map], own, config);
  };

  const drawTimeline = () => {
    const each = run();
    if (each.timeline) plots.timeline(timelinePlot, each.timeline, data.kinds, (node) => data.details.graphs[each.graph].names[node] ?? node);
  };

  const stop = () => {
    clearInterval(stop.timer);
    stop.timer = undefined;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };

  const again = [
    whenSeen(graphPlot, drawGraph),
    whenSeen(partitionPlot, drawPartition),
    whenSeen(document.getElementById("timeline-part"), drawTimeline),
  ];

  const atRound = () => {
    showRound();
    again[0]();
  };

  const chooseRun = () => {
    stop();
    const each = run();
    slider.max = Math.max(each.rounds.length - 1, 0);
    slider.value = slider.max;
    const part = document.getElementById("timeline-part");
    part.hidden = !each.timeline;
    if (each.timeline) document.getElementById("timeline-head").textContent = `Timeline of the nodes${each.timeline.part}`;
    showRound();
    play.hidden = slider.hidden = each.rounds.length < 2; // there is nothing to play
    again.forEach((draw) => draw());
  };

  play.addEventListener("click", () => {
    if (stop.timer !== undefined) {
      stop();
      return;
    }
    if (slider.value === slider.max) slider.value = 0;
    atRound();
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    stop.timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      atRound();
      if (slider.value === slider.max) stop();
    }, STEP);
  });
  slider.addEventListener("input", () => {
    stop();
    atRound();
  });
  choice.addEventListener("change", chooseRun);
  chooseRun();
})();
