// The page of `rekindle view`. Names and values of runs are data of others: they are only ever set as text.
"use strict";

const POLL = 2000;
const COLORS = ["#0a6cbd", "#d1495b", "#2a9d5c", "#8a5fc4", "#c77d0a", "#1793a5", "#a34c8a", "#6b7a2b"];
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const RETURN = "env_runners/episode_return_mean";
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const state = { runs: [], shown: new Set(), known: new Set(), series: new Map(), metrics: new Map(), configs: new Map(), videos: new Map(), drawn: null };

function element(name, text, attributes = {}) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function shape(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

async function ask(path, query) {
  const response = await fetch(path + (query ? "?" + new URLSearchParams(query) : ""));
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

function number(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return String(Math.round(value * 1000) / 1000);
}

function age(seconds) {
  if (seconds === null) return "no result yet";
  if (seconds < 10) return "now";
  if (seconds < 120) return seconds + " s ago";
  if (seconds < 7200) return Math.round(seconds / 60) + " min ago";
  return Math.round(seconds / 3600) + " h ago";
}

function drawRuns() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [];
  for (const run of state.runs) {
    const all = [run.name, run.algorithm, run.env, "seed " + run.seed].join(" ").toLowerCase();
    if (!words.every((word) => all.includes(word))) continue;
    const row = element("tr");
    const box = element("input", undefined, { type: "checkbox" });
    box.checked = state.shown.has(run.name);
    box.setAttribute("aria-label", "Show " + run.name);
    box.dataset.run = run.name;
    box.addEventListener("change", () => {
      if (box.checked) state.shown.add(run.name); else state.shown.delete(run.name);
      update();
    });
    const cell = element("td");
    cell.append(box);
    row.append(cell);
    const texts = [run.name, run.error ? "unreadable settings" : run.algorithm, run.env, String(run.seed ?? ""), age(run.age)];
    for (const text of texts) row.append(element("td", text, { title: run.error ?? text }));
    rows.push(row);
  }
  const focused = document.activeElement?.dataset?.run;
  const body = $("runs").tBodies[0];
  body.replaceChildren(...rows);
  // Keep the place of someone who uses the keyboard.
  if (focused !== undefined) {
    for (const box of body.querySelectorAll("input")) if (box.dataset.run === focused) box.focus();
  }
}

function drawMetrics() {
  const select = $("metric");
  const keys = new Set([RETURN]);
  for (const name of state.shown) for (const key of Object.keys(state.metrics.get(name) ?? {})) keys.add(key);
  const sorted = [...keys].sort();
  const present = [...select.options].map((option) => option.value);
  if (present.join("\n") === sorted.join("\n")) return;
  const chosen = select.value || RETURN;
  select.replaceChildren(...sorted.map((key) => element("option", key, { value: key })));
  select.value = keys.has(chosen) ? chosen : RETURN;
}

// Runs of the same algorithm and environment whose settings differ only in the seed are one curve.
function groups() {
  const found = new Map();
  for (const run of state.runs) {
    const points = state.series.get(run.name);
    if (!state.shown.has(run.name) || !points) continue;
    const settings = { ...(state.configs.get(run.name) ?? {}) };
    delete settings["debugging.seed"];
    const key = $("group").checked ? JSON.stringify(settings) : run.name;
    if (!found.has(key)) found.set(key, { runs: [], curves: [], settings });
    const group = found.get(key);
    group.runs.push(run);
    group.curves.push(points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)));
  }
  const all = [...found.values()];
  return all.map((group) => ({ label: label(group, all), ...merge(group.curves) }));
}

// A curve of several runs is named by its algorithm and environment, and by what sets it apart from others with these.
function label(group, all) {
  const [first] = group.runs;
  if (group.runs.length < 2) return first.name;
  const alike = all.filter(({ runs }) => runs.length > 1 && runs[0].algorithm === first.algorithm && runs[0].env === first.env);
  const keys = Object.keys(group.settings).filter((key) => alike.some(({ settings }) => settings[key] !== group.settings[key]));
  const shown = keys.slice(0, 2).map((key) => `${key}=${group.settings[key]}`);
  const more = keys.length > shown.length ? ", …" : "";
  return `${first.algorithm} ${first.env}, ${group.runs.length} seeds${shown.length ? ` (${shown.join(", ")}${more})` : ""}`;
}

function at(curve, x) {
  let [low, high] = [0, curve.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (curve[middle][0] <= x) low = middle; else high = middle;
  }
  const [[x0, y0], [x1, y1]] = [curve[low], curve[high]];
  return x1 === x0 ? y1 : y0 + (y1 - y0) * Math.min(1, Math.max(0, (x - x0) / (x1 - x0)));
}

function merge(curves) {
  const filled = curves.filter((curve) => curve.length > 0);
  if (filled.length === 0) return { mean: [], low: [], high: [] };
  if (filled.length === 1) return { mean: filled[0], low: [], high: [] };
  // Over the range that all curves cover.
  const start = Math.max(...filled.map((curve) => curve[0][0]));
  const end = Math.min(...filled.map((curve) => curve[curve.length - 1][0]));
  const merged = { mean: [], low: [], high: [] };
  for (let i = 0; i <= 200 && end >= start; i++) {
    const x = start + ((end - start) * i) / 200;
    const values = filled.map((curve) => at(curve, x));
    merged.mean.push([x, values.reduce((a, b) => a + b, 0) / values.length]);
    merged.low.push([x, Math.min(...values)]);
    merged.high.push([x, Math.max(...values)]);
  }
  return merged;
}

function ticks(low, high) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 4));
  const wide = [1, 2, 5, 10].map((factor) => factor * step).find((width) => (high - low) / width <= 6) ?? step * 10;
  const found = [];
  const first = Math.ceil(low / wide);
  // By number, because a step may be lost in large values.
  for (let i = 0; i < 12; i++) {
    const tick = (first + i) * wide;
    if (Number.isFinite(tick) && tick <= high + wide * 1e-9) found.push(tick);
  }
  return found;
}

function drawPlot() {
  const plot = $("plot");
  const lines = groups();
  const points = lines.flatMap((line) => [...line.mean, ...line.low, ...line.high]);
  plot.replaceChildren();
  $("legend").replaceChildren();
  const axis = $("axis").selectedOptions[0].textContent;
  $("caption").textContent = points.length
    ? `${$("metric").value} over ${axis}: ` + lines.filter((line) => line.mean.length).map((line) => `${line.label} last ${number(line.mean[line.mean.length - 1][1])}`).join("; ")
    : "No values to show: choose runs above.";
  if (!points.length) return;
  const bounds = (index) => {
    let [low, high] = [Infinity, -Infinity];
    for (const point of points) { low = Math.min(low, point[index]); high = Math.max(high, point[index]); }
    const margin = high > low ? 0 : Math.max(1, Math.abs(high)) / 2;
    return [low - margin, high + margin];
  };
  const [[x0, x1], [y0, y1]] = [bounds(0), bounds(1)];
  // As wide as the page, so that text has its size on narrow ones, too.
  const width = Math.max(280, Math.round(plot.getBoundingClientRect().width) || 900);
  plot.setAttribute("viewBox", `0 0 ${width} 420`);
  const px = (x) => 70 + ((x - x0) / (x1 - x0)) * (width - 90);
  const py = (y) => 380 - ((y - y0) / (y1 - y0)) * 360;
  for (const tick of ticks(y0, y1)) {
    plot.append(shape("line", { class: "grid", x1: 70, x2: width - 20, y1: py(tick), y2: py(tick) }));
    plot.append(shape("text", { x: 62, y: py(tick) + 4, "text-anchor": "end" }, number(tick)));
  }
  const wide = width >= 600;
  for (const tick of ticks(x0, x1).filter((_, index) => wide || index % 2 === 0)) {
    plot.append(shape("text", { x: px(tick), y: 400, "text-anchor": "middle" }, number(tick)));
  }
  lines.forEach((line, index) => {
    const [color, dash] = [COLORS[index % COLORS.length], DASHES[Math.floor(index / COLORS.length) % DASHES.length]];
    const path = (list) => list.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" ");
    if (line.low.length) plot.append(shape("polygon", { class: "band", fill: color, points: path([...line.low, ...line.high.slice().reverse()]) }));
    if (line.mean.length === 1) plot.append(shape("circle", { fill: color, r: 3, cx: px(line.mean[0][0]), cy: py(line.mean[0][1]) }));
    plot.append(shape("polyline", { class: "curve", stroke: color, "stroke-dasharray": dash, points: path(line.mean) }));
    const item = element("li");
    const key = shape("svg", { viewBox: "0 0 28 14", "aria-hidden": "true" });
    key.append(shape("line", { x1: 0, x2: 28, y1: 7, y2: 7, stroke: color, "stroke-width": 4, "stroke-dasharray": dash }));
    item.append(key, document.createTextNode(" " + line.label));
    $("legend").append(item);
  });
}

function table(id, names, rows) {
  const head = element("tr");
  for (const name of ["", ...names]) head.append(element("th", name, { scope: "col", title: name }));
  $(id).tHead.replaceChildren(head);
  $(id).tBodies[0].replaceChildren(...rows.map(([name, values]) => {
    const row = element("tr");
    row.append(element("th", name, { scope: "row" }));
    for (const value of values) row.append(element("td", value, { title: value }));
    return row;
  }));
}

const LAST = [
  ["return", RETURN],
  ["evaluation", "evaluation/env_runners/episode_return_mean"],
  ["steps", "env_runners/num_env_steps_sampled_lifetime"],
  ["steps per second", "env_runners/num_env_steps_sampled_lifetime_throughput"],
  ["seconds", "time_total_s"],
  ["seconds of the last sampling", "timers/env_runner_sampling_timer"],
  ["seconds of the last update", "timers/learner_update_timer"],
  ["loss", "learners/default_policy/total_loss"],
];

const ESTIMATES = "evaluation/off_policy_estimation/";

// Returns the metrics that are estimates of returns, without the ends of their intervals.
function estimates(names) {
  const keys = new Set(names.flatMap((name) => Object.keys(state.metrics.get(name) ?? {})));
  return [...keys].filter((key) => key.startsWith(ESTIMATES) && !/_(low|high)$/.test(key)).sort();
}

function drawComparison() {
  const names = [...state.shown];
  const estimated = estimates(names).map((key) => ["estimate " + key.slice(ESTIMATES.length), key]);
  table("latest", names, [...LAST, ...estimated].map(([label, key]) => [label, names.map((name) => number(state.metrics.get(name)?.[key]))]));
  const configs = names.map((name) => state.configs.get(name) ?? {});
  const keys = [...new Set(configs.flatMap((config) => Object.keys(config)))].sort();
  const differ = keys.filter((key) => new Set(configs.map((config) => config[key])).size > 1);
  table("difference", names, differ.map((key) => [key, configs.map((config) => config[key] ?? "–")]));
  $("compare-note").textContent = names.length < 2 ? "Choose two runs or more to compare their settings." : `${differ.length} settings differ.`;
}

// Videos are loaded when their run is opened. They stay while the lists are the same, because a new element starts again.
function drawVideos() {
  const lists = [...state.shown].map((name) => [name, state.videos.get(name) ?? []]).filter(([, files]) => files.length);
  const drawn = JSON.stringify(lists);
  if (state.drawn === drawn) return;
  state.drawn = drawn;
  $("videos-note").textContent = lists.length ? "" : "No videos: the setting evaluation.evaluation_video records episodes of evaluations.";
  const open = new Set([...$("videos").querySelectorAll("details[open]")].map((node) => node.dataset.run));
  $("videos").replaceChildren(...lists.map(([name, files]) => {
    const node = element("details");
    node.dataset.run = name;
    node.append(element("summary", `${name}: ${files.length} ${files.length === 1 ? "video" : "videos"}`));
    node.addEventListener("toggle", () => {
      if (!node.open || node.querySelector("figure")) return;
      for (const file of files.toReversed()) {
        const src = "/video?" + new URLSearchParams({ run: name, file });
        const shown = file.endsWith(".gif") ? element("img", undefined, { src, alt: `Episode ${file} of ${name}` }) : element("video", undefined, { src, controls: "" });
        const figure = element("figure");
        figure.append(shown, element("figcaption", file));
        node.append(figure);
      }
    });
    node.open = open.has(name);
    return node;
  }));
}

async function load(name) {
  const [x, y] = [$("axis").value, $("metric").value || RETURN];
  const [series, metrics, videos, config] = await Promise.all([
    ask("/api/series", { run: name, x, y }),
    ask("/api/metrics", { run: name }),
    ask("/api/videos", { run: name }),
    // The list of runs says that settings cannot be read.
    ask("/api/config", { run: name }).catch(() => state.configs.get(name) ?? {}),
  ]);
  state.series.set(name, series);
  state.metrics.set(name, metrics);
  state.videos.set(name, videos);
  // Resuming a run may change its settings.
  state.configs.set(name, config);
}

async function update() {
  try {
    state.runs = await ask("/api/runs");
    for (const run of state.runs) {
      // New runs are shown as long as there are few.
      if (!state.known.has(run.name) && state.shown.size < 8) state.shown.add(run.name);
      state.known.add(run.name);
    }
    const names = new Set(state.runs.map((run) => run.name));
    for (const name of state.shown) if (!names.has(name)) state.shown.delete(name);
    const failed = [];
    await Promise.all([...state.shown].map((name) => load(name).catch((error) => failed.push(`${name}: ${error.message}`))));
    drawRuns();
    drawMetrics();
    drawPlot();
    drawComparison();
    drawVideos();
    $("state").textContent = failed.length ? failed[0] : `${state.runs.length} runs, ${state.shown.size} shown`;
  } catch (error) {
    $("state").textContent = "no answer: " + error.message;
  }
}

for (const id of ["metric", "axis", "group"]) $(id).addEventListener("change", update);
$("filter").addEventListener("input", drawRuns);
(async () => {
  for (;;) {
    await update();
    await new Promise((done) => setTimeout(done, POLL));
  }
})();
