// One request: what was delivered when, what its reader reads, and when there is nothing to read.

import { sOf, summed, unpack, vOf, whole } from "./page_metrics.js";
import { el, plural, seconds, section } from "./page_text.js";
import { chart, lineOption } from "./page_charts.js";

const TICKS_A_SECOND = 1e4;

export async function unpackDeliveries(packed) {
  if (!packed) return null;
  const [requests, counts, times] = await Promise.all([packed.requests, packed.counts, packed.times].map(unpack));
  const rows = new Map();
  let at = 0;
  requests.forEach((request, i) => {
    rows.set(request, [at, at + counts[i]]);
    at += counts[i];
  });
  const of = (request) => {
    const row = rows.get(request);
    return row ? summed(times.slice(...row)).map((each) => each / TICKS_A_SECOND) : null;
  };
  return { of, all: packed.all, count: rows.size };
}

// Where in its reading a reader comes to a token: simulator/replica/reading.py.
export function position(curve, token, thinking) {
  if (!curve) return token;
  let read = token > thinking ? token - thinking : 1;
  if (curve.unit_tokens === null) read = 1;
  else if (curve.unit_tokens !== 1) read = curve.unit_tokens * Math.floor((read - 1) / curve.unit_tokens) + 1;
  if (curve.skim_speedup !== 1) read -= (1 - 1 / curve.skim_speedup) * Math.max(0, read - curve.skim_after_tokens);
  return read + (curve.fatigue / 2000) * read * read;
}

// When each token is read, and the stretches in which the reader has none: it takes a token when it comes to it after
// the waits so far, or when it comes, if later (simulator/report/panels.py).
export function readingOf(times, run, request, reader) {
  const { user } = run;
  const thinking = run.thinking?.[request] ?? 0;
  const v = vOf(run, request, reader);
  const begins = reader.origin === "arrival" ? sOf(run, request, reader) : (times[thinking] ?? 0);
  let waited = 0;
  const waits = [];
  const read = Array.from(times, (time, i) => {
    const due = begins + v * position(user.curve, i + 1, thinking);
    if (time - due > waited) {
      waits.push([due + waited, time]);
      waited = time - due;
    }
    return due + waited;
  });
  return { read, waits };
}

export function deliverySection(view) {
  const runs = () => view.shown().filter((run) => run.deliveries && run.readers);
  const [first] = view.runs.filter((run) => run.deliveries && run.readers);
  if (!first) return el("div", { hidden: true });
  const last = first.readers.requests - 1;
  const byWait = () => Array.from(first.scored.idle.keys()).sort((a, b) => first.scored.idle[b] - first.scored.idle[a]);
  const kept = (order) => order.find((each) => first.deliveries.of(each)) ?? order[0] ?? 0;
  let request = kept(byWait());
  const number = el("input", { type: "number", min: 0, max: last, value: request, "aria-label": "Request" });
  const told = el("p", { class: "told" });
  const note = el("p", { class: "note" });
  const lines = () => runs().flatMap((run) => {
    const times = run.deliveries.of(request);
    const colour = view.colour(run);
    const name = view.runs.length > 1 ? `${run.name}, ` : "";
    if (!times) {
      const { begins, places, timesS } = run.readers;
      const points = [];
      for (let i = begins[request]; i < begins[request + 1]; i++) points.push([timesS[i], places[i]]);
      return [{ name: `${name}latest deliveries`, colour, dashed: true, points }];
    }
    const steps = (each) => [[0, 0], ...Array.from(each, (time, i) => [time, i + 1])];
    return [
      { name: `${name}delivered`, colour, step: "end", points: steps(times) },
      { name: `${name}read`, colour, dashed: true, width: 1.5, step: "end", points: steps(readingOf(times, run.readers, request, view.reader).read) },
    ];
  });
  const waits = () => {
    const [run, more] = runs();
    const times = run && !more && run.deliveries.of(request);
    return times ? readingOf(times, run.readers, request, view.reader).waits : [];
  };
  const option = () => lineOption({ lines: lines(), waits: waits(), x: { name: "since the arrival (s)", min: 0, shown: (value) => seconds(value) }, y: { name: "tokens", min: 0 }, zoom: "bar", shown: (value) => `${value} tokens` });
  const place = chart("Tokens delivered and read, by time since the arrival", option, { height: 330 });
  const fill = () => {
    const { prompts, tokens, arrivalsS } = first.readers;
    told.replaceChildren(`Request ${request}: ${plural(prompts[request], "prompt token")}, ${plural(tokens[request], "answer token")}, arrived at ${arrivalsS[request].toFixed(1)} s. `,
      ...runs().flatMap((run) => [view.runs.length > 1 ? `${run.name}: ` : "", "its reader waits ", el("strong", { "data-wait": run.name }, seconds(run.scored.idle[request])), ". "]));
    note.textContent = runs().every((run) => run.deliveries.of(request))
      ? "Solid: delivered. Dashed: read. Shaded: the reader has nothing to read (with one run shown)."
      : `Of this request the page has the deliveries that can decide its reader's wait, for any V, and not all tokens; it has all of ${whole(first.deliveries.count)} of ${whole(last + 1)} requests. The wait is exact.`;
    place.redraw();
  };
  view.goTo = (next) => {
    request = Math.min(Math.max(Math.round(next) || 0, 0), last);
    number.value = request;
    fill();
    document.getElementById("delivery").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  };
  const pick = (next) => {
    request = Math.min(Math.max(Math.round(next) || 0, 0), last);
    number.value = request;
    fill();
  };
  number.addEventListener("input", () => Number.isFinite(number.valueAsNumber) && pick(number.valueAsNumber));
  const button = (label, next) => el("button", { type: "button", onclick: () => pick(next()) }, label);
  view.on(fill);
  fill();
  return section("delivery", "Delivery against reading", null,
    el("div", { class: "row" }, el("label", { class: "auto" }, "Request ", number), button("◀ before", () => request - 1), button("next ▶", () => request + 1),
      button("longest wait", () => byWait()[0]), button("median wait", () => {
        const order = byWait();
        return kept(order.slice(Math.floor(order.length / 2)));
      })), told, el("figure", {}, place), note);
}
