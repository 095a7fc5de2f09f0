"use strict";

/* The stream of the server, and the state of the page that it makes. The parts of the page draw what they are told. */
const live = (() => {
  const AGAIN = 2000; // ms from a lost connection to the next try
  const runs = new Map(); // key -> what the server says of the run, and all its points so far
  const state = { title: "", runs, order: [], line_styles: {}, costs: {}, columns: [], studies: [], detail: null, leftOut: 0 };
  const listeners = { runs: [], studies: [], detail: [], theme: [] };
  const connection = document.getElementById("connection");
  let source = null;
  let chosen = "";
  let retry;

  const on = (kind, listener) => listeners[kind].push(listener);
  const tell = (kind) => listeners[kind].forEach((listener) => listener(state));

  const show = (name, words) => {
    connection.dataset.state = name;
    if (connection.textContent !== words) connection.textContent = words;
  };

  const take = (message) => {
    if (message.detail !== undefined) {
      state.detail = message.detail;
      if (state.detail) tell("detail");
      return;
    }
    state.title = message.title;
    for (const name of ["order", "line_styles", "costs", "columns"]) state[name] = message[name];
    state.leftOut = message.left_out;
    for (const head of message.runs) {
      const points = runs.get(head.key)?.points ?? [];
      const at = performance.now();
      runs.set(head.key, { ...head, points: [...points.slice(0, head.from), ...head.points], at });
    }
    for (const key of runs.keys()) if (!state.order.includes(key)) runs.delete(key);
    if (message.studies) {
      state.studies = message.studies;
      tell("studies");
    }
    tell("runs");
  };

  const connect = () => {
    clearTimeout(retry);
    source?.close();
    const opened = new EventSource(`stream?run=${encodeURIComponent(chosen)}`);
    source = opened;
    let ended = false;
    opened.onmessage = (event) => {
      show("live", "live");
      take(JSON.parse(event.data));
    };
    opened.addEventListener("end", () => {
      ended = true;
      show("lost", "the server has ended; this is the last state");
    });
    opened.onerror = () => {
      if (!ended) show("lost", "connection lost; trying again");
      opened.close(); // a new stream begins with everything, so that nothing is missed
      clearTimeout(retry);
      retry = setTimeout(connect, AGAIN);
    };
  };

  /* Look at the nodes of a run; before that, the server chooses one that goes on. */
  const choose = (key) => {
    if (key === chosen) return;
    chosen = key;
    connect();
  };

  const column = (run, name) => {
    const place = state.columns.indexOf(name);
    return run.points.map((point) => point[place]);
  };
  /* The last value; some are only known at the end of a run. */
  const last = (run, name) => run.points.at(-1)?.[state.columns.indexOf(name)] ?? run.final[name] ?? null;

  /* A value of a measure as text, as reports have it. */
  const figure = (measure, value) => {
    if (value === null || value === undefined || !measure) return "-";
    const number = measure.factor * value;
    return measure.unit ? `${number.toFixed(1)}${measure.unit}` : String(Number(number.toPrecision(4)));
  };

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tell("theme"));

  /* Do a thing in the next frame, once however often it is asked for. */
  const inFrame = (action) => {
    let asked = false;
    return () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        action();
      });
    };
  };

  /* Make an element with a text, or with other elements. */
  const element = (name, content, own = {}) => {
    const made = Object.assign(document.createElement(name), own);
    made.append(...(Array.isArray(content) ? content : [content]));
    return made;
  };

  /* The same for shapes of a drawing, whose attributes are given. */
  const shape = (name, own, ...content) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(own).forEach(([key, value]) => made.setAttribute(key, value));
    made.append(...content);
    return made;
  };

  document.addEventListener("DOMContentLoaded", connect); // then all parts of the page listen
  return { state, on, choose, column, last, figure, inFrame, element, shape };
})();
