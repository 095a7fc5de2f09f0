"use strict";

/* Charts by uPlot in the page's own style. The chart of an element is its property `chart`. */
const charts = (() => {
  const { color } = page;
  const FONT = "12px system-ui, sans-serif";

  const number = (value) => String(Number(value.toPrecision(6)));

  const axis = (label, size, own) => ({
    label,
    size,
    labelSize: 20,
    labelGap: 2,
    labelFont: FONT,
    font: FONT,
    stroke: () => color("ink"),
    grid: { stroke: () => color("line"), width: 1 },
    ticks: { show: false },
    ...own,
  });

  /* Show data in an element. A chart of the same kind, which is any text, stays with its zoom and takes the new data. */
  const show = (element, kind, data, options) => {
    const { chart } = element;
    if (!chart || chart.kind !== kind) {
      chart?.destroy();
      element.chart = Object.assign(new uPlot({ ...size(element), ...options() }, data, element), { kind });
      return;
    }
    const { min, max } = chart.scales.x;
    const isZoomed = min > chart.data[0][0] || max < chart.data[0].at(-1);
    chart.setData(data, !isZoomed);
    if (isZoomed) chart.redraw();
  };

  const size = ({ clientWidth: width, clientHeight: height }) => ({ width, height });
  const fit = new ResizeObserver((entries) => entries.forEach(({ target }) => target.chart?.setSize(size(target))));
  document.querySelectorAll(".plot").forEach((element) => fit.observe(element));
  live.on("theme", () => document.querySelectorAll(".plot").forEach(({ chart }) => chart?.redraw(false, true)));

  return { axis, number, show };
})();
