"use strict";

/* The table of runs, which also says in figures what the curves show, and the tables of studies. */
(() => {
  const { state, on, last, figure, element, shape } = live;
  const { words } = page;
  const hidden = new Set(); // keys of runs whose curves are not shown
  live.isShown = (key) => !hidden.has(key);

  const body = document.querySelector(".runs tbody");
  const rows = new Map();

  const duration = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    const two = (number) => String(number).padStart(2, "0");
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  };

  const FIGURES = [
    ["mean", (run) => figure(run.measure, last(run, "mean"))],
    ["worst node", (run) => figure(run.measure, last(run, "worst"))],
    ["averaged model", (run) => figure(run.measure, last(run, "averaged_model"))],
    ["consensus distance", (run) => last(run, "consensus_distance")?.toPrecision(3) ?? "-"],
    ["sent", (run) => (last(run, "bytes") === null ? "-" : words.bytes(last(run, "bytes")))],
    ["training time", (run) => (last(run, "seconds") === null ? "-" : words.virtual(last(run, "seconds")))],
  ];

  const makeRow = (key) => {
    const check = element("input", [], { type: "checkbox", checked: true });
    check.addEventListener("change", () => {
      if (check.checked) hidden.delete(key);
      else hidden.add(key);
      live.drawCurves?.();
    });
    const parts = {
      line: element("span", ""),
      name: element("span", "", { className: "name" }),
      words: element("span", "", { className: "words" }),
      problem: element("span", "", { className: "problem" }),
      bar: element("progress", [], { max: 1, value: 0 }),
      text: element("span", ""),
      cells: FIGURES.map(([label]) => {
        const cell = element("td", "-", { className: "number" });
        cell.dataset.label = label;
        return cell;
      }),
    };
    const label = element("label", [check, parts.line, element("span", [parts.name, parts.words, parts.problem])]);
    const progress = element("td", [parts.text, parts.bar], { className: "progress" });
    parts.row = element("tr", [element("th", label, { scope: "row" }), progress, ...parts.cells]);
    return parts;
  };

  const put = (at, text) => {
    if (at.textContent !== text) at.textContent = text;
  };

  const left = (run) => {
    if (run.left === null) return "";
    const gone = run.age + (performance.now() - run.at) / 1000;
    return `, about ${duration(run.left - gone)} left`;
  };

  /* A short piece of a line with this style. */
  live.swatch = ({ color, dash, outline }) => {
    const line = shape("path", { d: "M0 6H34", stroke: color, "stroke-width": 2, "stroke-dasharray": dash || "none" });
    const marker = shape("path", { d: outline, transform: "translate(17 6)", fill: color });
    return shape("svg", { class: "swatch", width: 34, height: 12, viewBox: "0 0 34 12", "aria-hidden": "true" }, line, marker);
  };

  let common = ""; // the setting of all runs, if it is the same and there are several

  const fill = (run, parts) => {
    const style = state.line_styles[run.key];
    if (parts.line.dataset.style !== Object.values(style).join()) {
      parts.line.dataset.style = Object.values(style).join();
      parts.line.replaceChildren(live.swatch(style));
    }
    put(parts.name, live.title(run));
    put(parts.words, (common ? "" : run.words) + (run.nodes ? `${common ? "" : "; "}this peer hosts ${run.nodes.length} of the nodes` : ""));
    put(parts.problem, run.problems.join("; "));
    parts.bar.max = Math.max(run.planned, 1);
    parts.bar.value = run.round;
    parts.bar.setAttribute("aria-label", `progress of ${run.name}`);
    put(parts.text, `${run.status}, round ${run.round} of ${run.planned}${left(run)}`);
    parts.text.className = `status-${run.status}`;
    FIGURES.forEach(([, text], place) => put(parts.cells[place], text(run)));
  };

  /* Name of a run, with its method if the name does not say it. */
  live.title = (run) => (run.method && !run.name.includes(run.method) ? `${run.name}: ${run.method}` : run.name);

  const draw = () => {
    const { order, runs } = state;
    document.getElementById("no-runs").hidden = order.length > 0 || state.studies.length > 0;
    document.querySelector("#runs .scroll").hidden = !order.length;
    for (const [key, parts] of rows) {
      if (!runs.has(key)) {
        parts.row.remove();
        rows.delete(key);
      }
    }
    const settings = new Set(order.map((key) => runs.get(key).words));
    common = order.length > 1 && settings.size === 1 ? [...settings][0] : "";
    put(document.getElementById("common"), common);
    document.getElementById("common").hidden = !common;
    order.forEach((key, place) => {
      if (!rows.has(key)) rows.set(key, makeRow(key));
      const parts = rows.get(key);
      fill(runs.get(key), parts);
      if (body.children[place] !== parts.row) body.insertBefore(parts.row, body.children[place] ?? null);
    });
    const measures = new Set(order.map((key) => runs.get(key).measure?.name).filter(Boolean));
    put(document.querySelector("[data-head=mean]"), measures.size === 1 ? `mean ${[...measures][0]}` : "mean");
    const more = document.getElementById("left-out");
    more.hidden = !state.leftOut;
    put(more, `${state.leftOut} more run${state.leftOut > 1 ? "s" : ""}, written earlier, ${state.leftOut > 1 ? "are" : "is"} not shown.`);
    document.title = `${state.title}, live`;
    put(document.querySelector("h1"), document.title);
  };

  /* One cell of a study: what is done of its trials and seeds, and the mean so far. */
  const filling = (row) => {
    const cell = element("td", [], { className: "filling" });
    if (!row) return cell;
    const over = row.finished + row.diverged + row.failed;
    const bad = [["diverged", row.diverged], ["failed", row.failed]].filter(([, count]) => count);
    const value = element("span", row.text || "-", { className: row.is_best ? "best" : "" });
    const done = `${row.trials ? `${row.tried} of ${row.trials} trials, ` : ""}${over} of ${row.seeds} seeds`;
    const notes = [done, ...bad.map(([what, count]) => `${count} ${what}`), ...(row.is_best ? ["best"] : [])];
    const bar = element("progress", [], { max: row.trials + row.seeds || 1, value: row.tried + over });
    bar.setAttribute("aria-label", `${row.cell}, ${row.strategy}`);
    cell.append(value, bar, element("small", notes.join(", ")));
    return cell;
  };

  const drawStudies = () => {
    document.getElementById("studies").hidden = !state.studies.length;
    const tables = state.studies.map((study) => {
      const strategies = [...new Set(study.rows.map((row) => row.strategy))].sort();
      const cells = [...new Set(study.rows.map((row) => row.cell))];
      const places = new Map(study.rows.map((row) => [`${row.cell}\n${row.strategy}`, row]));
      const done = study.rows.reduce((sum, row) => sum + row.tried + row.finished + row.diverged + row.failed, 0);
      const all = study.rows.reduce((sum, row) => sum + row.trials + row.seeds, 0);
      const head = element("tr", ["cell", ...strategies].map((text) => element("th", text, { scope: "col" })));
      const lines = cells.map((cell) =>
        element("tr", [
          element("th", cell, { scope: "row" }),
          ...strategies.map((strategy) => filling(places.get(`${cell}\n${strategy}`))),
        ]));
      const table = element("table", [element("thead", head), element("tbody", lines)]);
      const scroll = element("div", table, { className: "scroll", tabIndex: 0 });
      scroll.setAttribute("role", "region");
      scroll.setAttribute("aria-label", study.title);
      const caption = `${study.name}: ${done} of ${all} runs done`;
      return element("div", [
        element("h3", study.title),
        element("p", study.problem || caption, { className: study.problem ? "problem" : "why" }),
        scroll,
      ]);
    });
    document.getElementById("study-tables").replaceChildren(...tables);
    draw();
  };

  on("runs", draw);
  on("studies", drawStudies);
  setInterval(() => { // the time left goes on between two records
    for (const [key, parts] of rows) {
      const run = state.runs.get(key);
      if (run && run.left !== null) fill(run, parts);
    }
  }, 1000);
})();
