"use strict";

/* The graph on a canvas: nodes colored by their values, edges by theirs; fast enough for thousands of nodes. */
const graphView = (() => {
  const { color } = page;
  const { inFrame } = live;
  const canvas = document.getElementById("graph");
  const paper = canvas.getContext("2d");
  const below = document.createElement("canvas"); // the edges, drawn again only when they change
  const STEP = 350; // ms from the colors of one evaluation to those of the next
  const PADDING = 26;
  /* Cividis, as in reports: readers who cannot tell colors apart see it go from dark to light. */
  const CIVIDIS = ["00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "e1cc55", "fee838"].map((hex) =>
    [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

  const view = { layout: null, values: [], from: [], at: 0, range: [0, 1], higher: true, edges: [], hotness: 1, chosen: -1 };

  const mixed = (one, other, share) => one.map((part, place) => Math.round(part + share * (other[place] - part)));
  const cividis = (share) => {
    const place = (Number.isNaN(share) ? 0.5 : Math.min(Math.max(share, 0), 1)) * (CIVIDIS.length - 1);
    const low = Math.min(Math.floor(place), CIVIDIS.length - 2);
    return mixed(CIVIDIS[low], CIVIDIS[low + 1], place - low);
  };
  const css = (rgb) => `rgb(${rgb})`;

  /* Share of the color scale; good values are light, whichever direction is good. */
  const share = (value) => {
    const [low, high] = view.range;
    const part = high > low ? (value / 2 - low / 2) / (high / 2 - low / 2) : 0.5; // halves: their difference is finite
    return view.higher ? part : 1 - part;
  };

  const geometry = () => {
    const { clientWidth: width, clientHeight: height } = canvas;
    const side = Math.min(width, height) - 2 * PADDING;
    const place = (across, up) => [(width - side) / 2 + across * side, (height - side) / 2 + up * side];
    const radius = Math.max(2.5, Math.min(17, 0.36 * (view.layout?.spacing ?? 1) * side));
    return { width, height, side, place, radius };
  };

  const sized = (each, { width, height }) => {
    const ratio = devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (each.width !== wide || each.height !== high) Object.assign(each, { width: wide, height: high });
    const context = each.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  };

  const drawEdges = () => {
    const space = geometry();
    const context = sized(below, space);
    const { layout, edges, hotness } = view;
    if (!layout?.ends) return;
    const [x, y] = layout.nodes;
    const [cold, hot] = [color("edge"), color("hot")];
    const thin = Math.max(0.5, Math.min(1.5, 24 / Math.sqrt(layout.ends.length)));
    const LEVELS = 8; // edges of about the same value are one path: a path each would be slow
    for (let level = -1; level < LEVELS; level += 1) {
      context.beginPath();
      layout.ends.forEach(([i, j], edge) => {
        const value = edges[edge];
        const its = value ? Math.min(LEVELS - 1, Math.floor((LEVELS * value) / hotness)) : -1;
        if (its !== level) return;
        context.moveTo(...space.place(x[i], y[i]));
        const bend = layout.edges[edge];
        for (let at = 0; at < bend.length; at += 2) context.lineTo(...space.place(bend[at], bend[at + 1]));
        context.lineTo(...space.place(x[j], y[j]));
      });
      context.strokeStyle = level < 0 ? cold : hot;
      context.globalAlpha = level < 0 ? 0.8 : 0.25 + (0.75 * (level + 1)) / LEVELS;
      context.lineWidth = level < 0 ? thin : thin * (1 + (2.5 * (level + 1)) / LEVELS);
      context.stroke();
    }
    context.globalAlpha = 1;
  };

  const draw = inFrame(() => {
    const space = geometry();
    sized(canvas, space);
    const { layout, values } = view;
    if (!layout?.nodes[0].length || !space.width || !below.width) return;
    paper.drawImage(below, 0, 0, space.width, space.height);
    const done = Math.min(1, (performance.now() - view.at) / STEP);
    const [x, y] = layout.nodes;
    const { radius } = space;
    const [ink, ground, bad] = [color("outline"), color("ground"), color("bad")];
    paper.lineWidth = radius > 6 ? 1.2 : 0.6;
    for (let node = 0; node < x.length; node += 1) {
      const [across, up] = space.place(x[node], y[node]);
      const value = values[node] ?? null;
      paper.beginPath();
      paper.arc(across, up, radius, 0, 2 * Math.PI);
      const before = view.from[node] ?? value;
      const shown = value === null ? null : share(before + done * (value - before));
      paper.fillStyle = shown === null ? ground : css(cividis(shown));
      paper.fill();
      paper.strokeStyle = value === null ? bad : ink;
      paper.stroke();
      if (radius < 8) continue;
      paper.fillStyle = shown === null ? ink : shown > 0.55 ? "#1d2329" : "#ffffff";
      paper.font = `${Math.min(12, radius * 0.9)}px system-ui, sans-serif`;
      paper.textAlign = "center";
      paper.textBaseline = "middle";
      paper.fillText(layout.names[node].slice(0, 5), across, up);
    }
    if (view.chosen >= 0 && view.chosen < x.length) {
      paper.beginPath();
      paper.arc(...space.place(x[view.chosen], y[view.chosen]), radius + 4, 0, 2 * Math.PI);
      paper.lineWidth = 3;
      paper.strokeStyle = "#e69f00";
      paper.stroke();
    }
    canvas.dataset.nodes = x.length; // it is drawn
    if (done < 1) draw();
  });

  const all = () => {
    drawEdges();
    draw();
  };

  const showValues = (values, higher) => {
    const known = values.filter((value) => value !== null);
    const isSame = view.values.length === values.length;
    view.from = isSame && !matchMedia("(prefers-reduced-motion: reduce)").matches ? view.values : values;
    Object.assign(view, { values, higher, at: performance.now() });
    view.range = known.length ? known.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]) : [0, 1];
    draw();
  };

  const showEdges = (values) => {
    if (values === view.edges) return;
    view.edges = values;
    view.hotness = values.reduce((most, value) => Math.max(most, value ?? 0), 0) || 1;
    all();
  };

  const showLayout = (layout) => {
    Object.assign(view, { layout, values: [], from: [], edges: [], chosen: -1 });
    delete canvas.dataset.nodes;
    all();
  };

  /* The node at a place of the canvas; -1: none is near. */
  const nodeAt = (across, up) => {
    if (!view.layout?.nodes[0].length) return -1;
    const space = geometry();
    let [nearest, least] = [-1, (space.radius + 7) ** 2];
    const [x, y] = view.layout.nodes;
    for (let node = 0; node < x.length; node += 1) {
      const [left, top] = space.place(x[node], y[node]);
      const distance = (left - across) ** 2 + (top - up) ** 2;
      if (distance < least) [nearest, least] = [node, distance];
    }
    return nearest;
  };

  const name = (node) => view.layout?.names?.[node] ?? String(node);

  const choose = (node) => {
    view.chosen = node;
    draw();
  };

  /* A strip with the colors of the nodes' values. */
  const scale = () => {
    const strip = Object.assign(document.createElement("canvas"), { width: 144, height: 10 });
    strip.setAttribute("aria-hidden", "true");
    const context = strip.getContext("2d");
    for (let at = 0; at < 144; at += 1) {
      context.fillStyle = css(cividis(view.higher ? at / 143 : 1 - at / 143));
      context.fillRect(at, 0, 1, 10);
    }
    return strip;
  };

  new ResizeObserver(all).observe(canvas);
  live.on("theme", all);
  return { canvas, view, showValues, showEdges, showLayout, nodeAt, name, choose, scale };
})();
