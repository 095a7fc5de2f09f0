"use strict";

/* Shared by all parts of the page: its data, formatted numbers, layouts of plots, and drawing on demand. */
const page = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  document.documentElement.className = "scripted";

  /* Escaped text: plotly interprets some tags. */
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const withPrefix = (number, unit, prefixes) => {
    let place = 0;
    while (Math.abs(number) >= 1000 && place < prefixes.length - 1) {
      number /= 1000;
      place += 1;
    }
    return { number, unit: prefixes[place] + unit, place };
  };

  /* The same formats as in the static tables (report/units.py). */
  const words = {
    rounds: (amount) => String(amount),
    bytes: (amount) => {
      const { number, unit, place } = withPrefix(amount, "B", ["", "k", "M", "G", "T"]);
      return `${number.toFixed(place ? 1 : 0)} ${unit}`;
    },
    virtual: (amount) => {
      if (amount < 59.95) return `${amount.toFixed(amount < 0.995 ? 2 : 1)} s`;
      const seconds = Math.round(amount);
      const two = (number) => String(number).padStart(2, "0");
      const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
      return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)} h` : `${minutes}:${two(seconds % 60)} min`;
    },
    seconds: (amount) => words.virtual(amount),
    joules: (amount) => {
      let [number, place] = [amount, 0];
      while (number >= 999.5 && place < 3) {
        number /= 1000;
        place += 1;
      }
      if (place === 3) return `${number.toFixed(1)} GJ`;
      return `${number.toPrecision(3).replace(/\.$/, "")} ${["J", "kJ", "MJ"][place]}`;
    },
  };

  const median = (numbers) => {
    const sorted = [...numbers].sort((one, other) => one - other);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  };

  const config = {
    displayModeBar: false, // it covers the plot on touch screens; a double click resets the zoom
    responsive: true,
  };

  /* A color of the style sheet, which has others in dark mode. */
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  /* Dashes of the quantities of the same runs, in SVG. */
  const dashes = { mean: "", worst: "2 3", averaged_model: "7 3" };

  /* Color of an activity of a node; some have other ones in dark mode. */
  const activityColor = (kind, kinds) => color({ "computes in vain": "vain", waits: "waits" }[kind]) || kinds[kind];

  const PAPER = 690; // width of plots on paper, in px

  /* Layout of a plot: common settings and its own. */
  const layout = (own) => ({
    ...(document.documentElement.classList.contains("printing") ? { width: PAPER, autosize: false } : { autosize: true }),
    font: { family: "system-ui, sans-serif", size: 13, color: color("ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 62, r: 12, t: 14, b: 48 },
    hoverlabel: { bgcolor: color("ground"), bordercolor: color("edge"), font: { color: color("ink") } },
    ...own,
  });

  const axis = (title, own) => ({
    title: { text: plain(title), standoff: 8 },
    gridcolor: color("line"),
    linecolor: color("edge"),
    zeroline: false,
    ...own,
  });

  /* Draw all plots again, e.g. in other colors; those that were never seen as well if all are to be there. */
  const drawings = [];
  const closed = []; // parts that are open on paper only
  const drawAgain = (all) => drawings.forEach((again) => again(all));

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAgain(false));
  window.addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    closed.push(...document.querySelectorAll("details.groups:not([open])"));
    closed.forEach((part) => (part.open = true));
    drawAgain(true);
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    closed.splice(0).forEach((part) => (part.open = false));
    drawAgain(false);
  });

  /* Draw when the element first comes near the screen. The returned function draws it again from then on. */
  const whenSeen = (element, draw) => {
    let seen = false;
    const again = (all) => {
      seen ||= all === true;
      if (seen) draw();
    };
    drawings.push(again);
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        seen = true;
        draw();
      },
      { rootMargin: "200px" },
    );
    observer.observe(element);
    return again;
  };

  /* Mark the visible section in the contents. */
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const reading = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting || !links.has(entry.target.id)) continue;
        links.forEach((link) => link.removeAttribute("aria-current"));
        links.get(entry.target.id).setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-20% 0px -70% 0px" },
  );
  document.querySelectorAll("section").forEach((section) => reading.observe(section));

  return { data, plain, words, median, color, dashes, activityColor, config, layout, axis, whenSeen };
})();
