// Curves over readers, and distributions of latencies.

import { number, smoothGoodput, whole } from "./page_metrics.js";
import { el, seconds, section } from "./page_text.js";
import { chart, lineOption } from "./page_charts.js";

// Smooth goodput over V and over alpha, computed here.
export function readerSection(view) {
  const runs = () => view.shown().filter((run) => run.readers);
  if (!runs().length) return el("p", { class: "note" }, "The tokens of these runs were not kept, so they are shown for their own reader only.");
  const over = (values, reader) => (run) => values.map((value) => [value, smoothGoodput(run.readers, { ...view.reader, ...reader(value) })]);
  const lines = (points) => () => runs().map((run) => ({ name: run.name, colour: view.colour(run), points: points(run) }));
  const range = (from, to, count) => Array.from({ length: count }, (_, i) => from * (to / from) ** (i / (count - 1)));
  const speeds = lines(over(range(0.01, 0.5, 16), (v) => ({ v })));
  const prices = (run) => {
    // All that depends on alpha is a factor of what waiting costs, so two values give the line.
    const at = (alpha) => smoothGoodput(run.readers, { ...view.reader, alpha });
    const [free, one] = [at(0), at(1)];
    return range(0.1, 100, 40).map((alpha) => [alpha, free + alpha * (one - free)]);
  };
  const draw = (label, made, x) => {
    const place = chart(label, () => lineOption({ lines: made(), x: { log: true, ...x }, y: { scale: true, label: (value) => (Math.abs(value) < 1000 ? String(+value.toPrecision(6)) : whole(value)) }, at: x.at(), shown: (value) => `${number(value)} tokens/s` }));
    view.on(() => place.redraw());
    return place;
  };
  const alpha = () => view.reader.alpha ?? (view.reader.v > 0 ? 1 / view.reader.v : null);
  return section("readers", "For which readers", "Smooth goodput in tokens/s. The dotted line is the reader that the sliders say.",
    el("div", { class: "pair" },
      el("figure", {}, el("figcaption", {}, "by the speed of reading, V"), draw("Smooth goodput by V", speeds, { name: "V (s a token)", at: () => view.reader.v || null })),
      el("figure", {}, el("figcaption", {}, "by what waiting costs, alpha"), draw("Smooth goodput by alpha", lines(prices), { name: "alpha (tokens a second of waiting)", at: alpha }))));
}

const DISTRIBUTIONS = [["ttft", "First token (TTFT)"], ["tbt", "Between tokens (TBT)"], ["tpot", "A token on average (TPOT)"], ["e2e", "Whole answer (E2E)"]];

export function distributionsSection(view) {
  const figures = DISTRIBUTIONS.filter(([name]) => view.runs.some((run) => run.distributions[name]?.s.length)).map(([name, title]) =>
    figure(title, () => view.shown().filter((run) => run.distributions[name]).map((run) => ({ name: run.name, colour: view.colour(run), step: "end", points: run.distributions[name].s.map((s, i) => [Math.max(s, 1e-6), 100 * run.distributions[name].share[i]]) }))));
  function figure(title, lines, listens = (what) => what !== "reader") {
    const option = () => lineOption({ lines: lines(), x: { name: "at most (s)", log: true, shown: seconds }, y: { min: 0, max: 100, interval: 25, label: (value) => `${value} %` }, shown: (value) => `${number(value, 3)} %` });
    const place = chart(`Distribution: ${title}`, option, { height: 230 });
    view.on((what) => listens(what) && place.redraw());
    return el("figure", {}, el("figcaption", {}, title), place);
  }
  if (view.runs.some((run) => run.readers)) {
    figures.push(figure("A reader's wait (idle latency)", () => view.shown().filter((run) => run.readers).map((run) => {
      const [first, stop] = run.readers.measured;
      const sorted = run.scored.idle.slice(first, stop).sort();
      const ranks = [...new Set(Array.from({ length: 200 }, (_, i) => Math.floor(((sorted.length - 1) * i) / 199)))];
      const points = ranks.map((rank) => [Math.max(sorted[rank], 1e-4), (100 * (rank + 1)) / sorted.length]);
      return { name: run.name, colour: view.colour(run), step: "end", points: points.filter(([s], i) => s > 1e-4 || !(points[i + 1]?.[0] <= 1e-4)) };
    }), () => true));
  }
  return section("distributions", "Latencies", "Share of arrived requests with at most so many seconds; of all gaps, between tokens. Waits below 0.1 ms stand at 0.1 ms.", el("div", { class: "grid small" }, ...figures));
}
