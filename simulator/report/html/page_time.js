// What ran, waited and filled the memory over time, and the KV caches that moved.

import { number, whole } from "./page_metrics.js";
import { el, plural, section } from "./page_text.js";
import { chart, lineOption, plainNumber, theme } from "./page_charts.js";

const PANELS = [
  [["arrivals_per_s"], "Arriving requests", "requests/s"],
  [["tokens_per_s"], "Tokens delivered", "tokens/s"],
  [["running", "waiting"], "Requests running (line) and waiting (dashed)", "requests"],
  [["kv_share"], "KV cache in use", "%"],
  [["replicas"], "Replicas in service", "replicas"],
];
const HOURS_FROM_S = 3 * 3600;

export function timeSection(view) {
  const runs = () => view.shown().filter((run) => run.time);
  const there = PANELS.filter(([names]) => view.runs.some((run) => run.time?.[names[0]]));
  if (!there.length) return el("div", { hidden: true });
  const longest = Math.max(...view.runs.filter((run) => run.time).map((run) => run.time.width_s * run.time.tokens_per_s.length));
  const [unit, name] = longest > HOURS_FROM_S ? [3600, "time (h)"] : [1, "time (s)"];
  const panels = there.map(([names, title, of], i) => {
    const last = i === there.length - 1;
    const option = () => lineOption({
      lines: names.flatMap((each, nth) => (sameForAll(view, each) ? runs().slice(0, 1) : runs()).filter((run) => run.time[each]).map((run) => ({
        name: names.length > 1 ? `${run.name}, ${each}` : sameForAll(view, each) ? title : run.name,
        colour: sameForAll(view, each) ? theme().muted : view.colour(run), dashed: nth > 0, width: 1.5, step: "end", area: names.length === 1 && runs().length === 1,
        points: run.time[each].map((value, at) => [(run.time.first_s + at * run.time.width_s) / unit, each === "kv_share" ? 100 * value : value]),
      }))),
      x: { name: last ? name : "", min: "dataMin", max: "dataMax", label: (value) => plainNumber(Math.round(value * 100) / 100), shown: (value) => `${number(value, 5)} ${unit === 1 ? "s" : "h"}` }, y: { min: 0, width: 52 }, zoom: last ? "bar" : "inside", shown: (value) => `${number(value, 3)} ${of}`,
    });
    const place = chart(`${title} over time`, option, { height: last ? 205 : 140, group: "time" });
    view.on((what) => what !== "reader" && place.redraw());
    return [el("figcaption", {}, `${title}, ${of}`), place];
  });
  const [first] = view.runs.filter((run) => run.time);
  return section("time", "Over time", `Means over ${number(first.time.width_s, 3)} s. Drag the ends of the bar at the bottom to zoom, or pinch; with the mouse wheel, hold Ctrl.`, el("figure", {}, ...panels.flat()));
}

// Arrivals of the same traffic are one line.
const sameForAll = (view, name) => name === "arrivals_per_s" && view.report.same_arrivals && view.runs.length > 1;

const KINDS = { hand_off: "hand-offs", migration: "migrations" };

// A lane for each pair of replicas, a line for each KV cache on its way.
export function lanesSection(view) {
  const runs = view.runs.filter((run) => run.transfers);
  if (!runs.length) return el("div", { hidden: true });
  const figures = runs.map((run) => {
    const moved = run.transfers;
    const names = moved.from.map((from, i) => `${from} → ${moved.to[i]}`);
    const lanes = [...new Set(names)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const kinds = [...new Set(moved.kind)];
    const lines = () => kinds.map((kind, nth) => ({
      name: KINDS[kind] ?? kind, colour: nth ? "#D55E00" : view.colour(run), width: 7,
      points: moved.start_s.flatMap((start, i) => (moved.kind[i] === kind ? [[start, lanes.indexOf(names[i])], [start + moved.took_s[i], lanes.indexOf(names[i])], [null, null]] : [])),
    }));
    const option = () => {
      const [from, width] = run.time ? [run.time.first_s, run.time.width_s * run.time.tokens_per_s.length] : [0, Math.max(...moved.start_s) + Math.max(...moved.took_s)];
      const made = lineOption({ lines: lines(), x: { name: "time (s)", min: from, max: from + width, label: (value) => plainNumber(Math.round(value * 100) / 100) }, y: { min: -0.5, max: lanes.length - 0.5, interval: 0.5, label: (value) => lanes[value] ?? "" }, zoom: "bar" });
      for (const each of made.series) Object.assign(each, { sampling: undefined, connectNulls: false });
      made.tooltip = { show: false };
      return made;
    };
    const place = chart(`KV caches that moved in ${run.name}`, option, { height: 110 + 26 * lanes.length, group: "time" });
    view.on((what) => what === "theme" && place.redraw());
    const shown = moved.start_s.length < moved.count ? `the ${plural(moved.start_s.length, "transfer")} that took longest, of ${whole(moved.count)}` : plural(moved.count, "transfer");
    const lost = moved.arrived.filter((each) => !each).length;
    const longest = Math.max(...moved.took_s);
    return el("figure", {}, el("figcaption", {}, `${run.name}: ${kinds.map((kind) => KINDS[kind] ?? kind).join(" and ")} (${shown}), from replica → to replica; the longest took ${number(1000 * longest, 3)} ms${lost ? `; ${plural(lost, "one")} shown did not arrive` : ""}`), place);
  });
  return section("lanes", "KV caches between replicas", null, ...figures);
}
