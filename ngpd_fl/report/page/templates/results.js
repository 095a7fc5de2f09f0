"use strict";

/* Curves of each setting, and the costs of reaching the target that the reader enters. */
(() => {
  const { data, plain, words, median, config, axis, whenSeen } = page;

  const SHOWN = 8; // most groups shown at first; the legend shows the others
  const named = (group) => plain(group.ends ? `${group.label} (${group.ends})` : group.label);

  /* Lines of one group, with a band if it has several runs. */
  const traces = (cell, group, place, cost, quantities) => {
    const lines = [];
    const visible = place < SHOWN ? true : "legendonly";
    quantities.forEach((quantity) => {
      const line = group.curves.lines[quantity];
      if (!line) return;
      const { factor, unit, words: quantityWords } = cell.quantities[quantity];
      const x = group.curves.spent[cost];
      const y = line.mean.map((value) => (value === null ? null : factor * value));
      const shared = { x, visible, legendgroup: `${place}` };
      if (line.sd.length) {
        const edge = (sign) => y.map((value, at) => (value === null ? null : value + sign * factor * (line.sd[at] ?? 0)));
        const hidden = { ...shared, type: "scatter", mode: "lines", line: { width: 0 }, showlegend: false, hoverinfo: "skip" };
        const [red, green, blue] = [1, 3, 5].map((at) => parseInt(group.style.color.slice(at, at + 2), 16));
        lines.push({ ...hidden, y: edge(-1) });
        lines.push({ ...hidden, y: edge(1), fill: "tonexty", fillcolor: `rgba(${red},${green},${blue},0.15)` });
      }
      const several = quantities.length > 1;
      const name = several ? `${named(group)}: ${quantityWords}` : named(group);
      const sd = line.sd.map((value) => factor * value);
      lines.push(plots.line({ ...shared, style: group.style, quantity, several, y, sd, unit, cost: data.costs[cost], name }));
    });
    return lines;
  };

  const drawCurves = (section, cell) => {
    const chosen = (name) => section.querySelector(`input[name^="${name}-"]:checked`).value;
    const [cost, quantity] = [chosen("cost"), chosen("quantity")];
    const quantities = quantity === "all" ? data.own.filter((each) => each in cell.quantities) : [quantity];
    const shown = cell.quantities[quantities[0]];
    const lines = cell.groups.flatMap((group, place) => traces(cell, group, place, cost, quantities));
    const narrow = section.clientWidth < 700;
    const own = plots.against(data.costs[cost], lines, {
      yaxis: axis(shown.label, shown.unit ? { range: [0, 101] } : { rangemode: "tozero" }),
      showlegend: lines.length > 1,
      legend: narrow ? { orientation: "h", y: -0.2, yanchor: "top" } : { x: 1.01, y: 1, tracegroupgap: 2 },
    });
    Plotly.react(section.querySelector(".curves"), lines, own, config);
  };

  /* Costs of reaching the target: at the first evaluation of each run whose mean over nodes reaches it. */
  const costTexts = (cell, group, target) => {
    const sign = cell.measure.higher_is_better ? 1 : -1;
    const places = group.runs.map((run) =>
      run.mean.findIndex((value) => value !== null && sign * value >= sign * target));
    return Object.fromEntries(
      cell.costs.map((cost) => {
        const spent = group.runs.flatMap((run, at) => (places[at] < 0 ? [] : [run.spent[cost][places[at]]]));
        if (!spent.length) return [cost, "not reached"];
        const few = spent.length < group.runs.length ? ` (${spent.length} of ${group.runs.length})` : "";
        return [cost, words[cost](median(spent)) + few];
      }),
    );
  };

  /* A figure may break before its brackets only, as in the static tables (report/page/template.py). */
  const unbroken = (text) => text.replace(/(?<=\d) (?!\()|(?<=of) /g, "\u00a0");

  const showCosts = (section, cell, shown) => {
    const target = Number(shown) / cell.measure.factor;
    const valid = shown !== "" && target > 0;
    section.querySelector(".target-text").textContent = shown;
    section.querySelector(".target-why")?.remove(); // it told of the first target
    section.querySelectorAll(".results tbody tr").forEach((row, place) => {
      const texts = valid ? costTexts(cell, cell.groups[place], target) : {};
      row.querySelectorAll("[data-cost]").forEach((at) => {
        at.textContent = unbroken(texts[at.dataset.cost] ?? "-");
      });
    });
  };

  document.querySelectorAll(".setting").forEach((section) => {
    const cell = data.cells[Number(section.dataset.place)];
    if (!cell.groups.some((group) => group.curves.spent.rounds?.length)) {
      section.querySelectorAll(".plot, .controls").forEach((part) => part.remove());
      return;
    }
    const again = whenSeen(section.querySelector(".curves"), () => drawCurves(section, cell));
    section.querySelectorAll("input[type=radio]").forEach((input) => input.addEventListener("change", again));
    const target = section.querySelector(".target-value");
    target?.addEventListener("input", () => showCosts(section, cell, target.value));
  });
})();
