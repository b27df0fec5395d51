// Runs beside one another: the answer, cards, curves, single requests, time, tables.

import { idleLatency, number, paired, score, smoothGoodput, unpackReaders } from "./page_metrics.js";
import { change, dot, el, plural, seconds, section, signed, unitOf, withUnit } from "./page_text.js";
import { chart, isDark, lineOption } from "./page_charts.js";
import { table } from "./page_tables.js";
import { deliverySection, unpackDeliveries } from "./page_delivery.js";
import { lanesSection, timeSection } from "./page_time.js";

const SMOOTH = "smooth_goodput.smooth_goodput_tokens_per_s";
const ATTAINED = "token_slo.attainment";
const WAIT = "idle_latency.idle_latency_s.mean";
const GOOD_PRICE = "cost.usd_per_million_smooth_good_tokens";
const CARDS = [
  [SMOOTH, "Smooth goodput", "tokens delivered less what waiting costs"],
  [ATTAINED, "Answers without a wait", "every token there when its reader wants it"],
  [WAIT, "A reader waits, on average", "for all late tokens of an answer together"],
  ["latency.ttft_s.p99", "First token, p99", "from the arrival"],
  ["latency.tbt_s.p99", "Between tokens, p99", "of all gaps"],
  [GOOD_PRICE, "A million smooth-good tokens", "at the price of the GPU hours"],
];

export async function renderRuns(report, place) {
  const view = { report, hidden: new Set(), listeners: [], measures: new Map(report.measures.map((each) => [each.key, each])) };
  view.runs = await Promise.all(report.runs.map(unpackRun));
  for (const run of view.runs) {
    for (const name of ["prompts", "arrivalsS"]) if (run.readers && run.readers[name] === null) run.readers[name] = view.runs[0].readers[name];
  }
  const scored = view.runs.find((run) => run.readers);
  view.own = scored ? { v: scored.readers.user.v_s, s: scored.readers.user.s_s, alpha: scored.readers.user.alpha } : null;
  view.reader = view.own && { ...view.own };
  view.shown = () => view.runs.filter((run) => !view.hidden.has(run));
  view.colour = (run) => run.colour[isDark() ? "dark" : "light"];
  view.on = (listener) => view.listeners.push(listener);
  view.changed = (what) => {
    if (what === "reader") rescore(view);
    for (const listener of view.listeners) listener(what);
  };
  rescore(view);
  place.append(
    answer(view), controls(view), cards(view), why(view), readerSection(view), distributionsSection(view),
    deliverySection(view), timeSection(view), lanesSection(view), comparisonSection(view), slowestSection(view), simulated(view),
  );
  return view;
}

async function unpackRun(run) {
  const [readers, deliveries] = await Promise.all([run.readers && unpackReaders(run.readers), unpackDeliveries(run.deliveries)]);
  return { ...run, readers, deliveries };
}

const isOwn = (view) => view.reader && Object.keys(view.own).every((key) => view.own[key] === view.reader[key]);

// Scores all runs for the reader of the moment; with the reader of the runs themselves, from the summaries too.
function rescore(view) {
  for (const run of view.runs) {
    run.now = { ...run.values };
    if (!run.readers) continue;
    if (!isOwn(view)) for (const key of Object.keys(run.now)) if (FOLLOWS.test(key)) delete run.now[key];
    run.scored = score(run.readers, view.reader);
    Object.assign(run.now, run.scored.values);
    const benefit = run.now[SMOOTH] * run.readers.window_s;
    if (run.usd !== null) run.now[GOOD_PRICE] = benefit > 0 ? (run.usd / benefit) * 1e6 : null;
  }
}

// What follows the reader and is not computed here: shown for the runs' own reader only.
const FOLLOWS = /^(token_slo|fluidity|qoe|fluid_rate|idle_latency|smooth_goodput)\.|smooth_good/;

// How a run differs from the base in a measure, in its unit: over seeds, or request by request within the trace.
function difference(view, run, key) {
  const [base] = view.runs;
  const at = view.runs.indexOf(run);
  const seeds = view.report.over_seeds;
  if (seeds && (isOwn(view) || !FOLLOWS.test(key))) return seeds.differences[key]?.[at] ?? null;
  const within = view.report.within_trace[key]?.[at];
  if (within) return { mean: within[0], low: within[1], high: within[2] };
  if (!run.readers || !base.readers || run.readers.requests !== base.readers.requests) return null;
  const measured = (each) => each.readers.measured;
  if (String(measured(run)) !== String(measured(base))) return null;
  const [first, stop] = measured(run);
  const of = (each) => {
    if (key === SMOOTH) return each.scored.benefit;
    if (key === WAIT) return each.scored.idle.slice(first, stop);
    if (key !== ATTAINED) return null;
    return each.scored.idle.slice(first, stop).map((idle, i) => Number(idle <= 1e-9 && !each.readers.incomplete.has(first + i)));
  };
  const ours = of(run);
  const found = ours && paired(ours, of(base));
  if (!found || key !== SMOOTH) return found;
  // A request's benefit is that of its whole answer; per second of the window it is about the difference of the rates.
  const apart = run.now[key] - base.now[key];
  const half = (((found.high - found.low) / 2) * (stop - first)) / run.readers.window_s;
  return { mean: apart, low: apart - half, high: apart + half };
}

const baseValue = (view, key) => seedMean(view, view.runs[0], key);

function seedMean(view, run, key) {
  const seeds = view.report.over_seeds;
  const mean = seeds && (isOwn(view) || !FOLLOWS.test(key)) ? seeds.means[key]?.[view.runs.indexOf(run)] : undefined;
  return mean ?? run.now[key] ?? null;
}

const against = (view, run, key) =>
  run === view.runs[0] ? null : change(view.measures.get(key), baseValue(view, key), seedMean(view, run, key), difference(view, run, key));

const scope = (view) => (view.report.over_seeds && isOwn(view) ? `over ${view.report.over_seeds.count} seeds` : "within this trace");

const certainty = (view) =>
  view.report.over_seeds && isOwn(view)
    ? `paired over ${view.report.over_seeds.count} seeds, 95 %`
    : "within this trace: request by request, in 20 stretches, 95 %; one run each says nothing of other seeds";

// The answer: which is better, by how much, is it sure, why.
function answer(view) {
  const place = el("section", { class: "verdict", "aria-live": "polite", "aria-label": "The answer" });
  const fill = () => place.replaceChildren(...(view.runs.length > 1 ? ranking(view) : alone(view)));
  view.on(fill);
  fill();
  return place;
}

function alone(view) {
  const [{ now, states }] = view.runs;
  const key = SMOOTH in now && now[SMOOTH] !== null;
  if (!key) return [el("p", { class: "lead" }, `${plural(states.arrived, "request")}: first token after ${seconds(now["latency.ttft_s.p50"])} (p50), ${seconds(now["latency.ttft_s.p99"])} (p99).`)];
  const rate = now["throughput.output_tokens_per_s"];
  const share = rate > 0 ? ` of ${number(rate)} delivered` : "";
  return [
    el("p", { class: "lead" }, `Smooth goodput ${number(now[SMOOTH])}${share} tokens/s.`),
    el("p", {}, `${withUnit(now[ATTAINED], "share of")} of ${plural(states.arrived, "answer")} came without a wait; a reader waits ${seconds(now[WAIT])} on average, `
      + `${seconds(now["idle_latency.idle_latency_s.p99"])} at the 99th percentile.`),
  ];
}

function ranking(view) {
  const [base, ...others] = view.runs;
  const key = view.runs.every((run) => seedMean(view, run, SMOOTH) !== null) ? SMOOTH : "latency.ttft_s.mean";
  const measure = view.measures.get(key);
  const order = [...others].sort((a, b) => (measure.higher ? -1 : 1) * (seedMean(view, a, key) - seedMean(view, b, key)));
  const best = order[0];
  const apart = against(view, best, key);
  if (!apart || apart.apart === 0) return [el("p", { class: "lead" }, `No difference in ${measure.label} to ${base.name}.`)];
  const by = `${apart.text} ${measure.label}${apart.interval ? ` (${apart.interval} ${apart.unit})` : ""}`;
  const sure = apart.sure === null ? "how sure is not known" : `sure ${scope(view)}`;
  let lead = [el("strong", {}, best.name), ` is better than ${base.name}: ${by}, ${sure}.`];
  if (apart.sure === false) lead = ["No difference is shown ", scope(view), " between ", el("strong", {}, best.name), ` and ${base.name}: ${by}.`];
  else if (!apart.better) lead = [el("strong", {}, base.name), ` is the best here; ${best.name}, the next, has ${by}, ${sure}.`];
  return [
    el("p", { class: "lead" }, ...lead),
    el("p", {}, reason(view, best, base, apart.better && apart.sure !== false)),
    el("p", { class: "note" }, `Differences are to ${base.name}, ${certainty(view)}.`),
  ];
}

const PARTS = [["queue", "in the queue"], ["prompt", "for its prompt"], ["answer", "for its answer"]];

function reason(view, run, base, better) {
  const wait = run.now[WAIT] !== undefined && base.now[WAIT] !== undefined ? run.now[WAIT] - base.now[WAIT] : null;
  const waits = wait === null ? "" : `Its readers wait ${seconds(Math.abs(wait))} ${wait < 0 ? "less" : "more"} on average. `;
  if (!run.spent || !base.spent) return waits;
  const parts = PARTS.map(([name, words]) => [run.spent[name] - base.spent[name], words]).sort((a, b) => Math.abs(b[0]) - Math.abs(a[0]));
  const told = parts.filter(([apart]) => Math.abs(apart) >= 0.1 * Math.abs(parts[0][0])).map(([apart, words]) => `${seconds(Math.abs(apart))} ${apart < 0 ? "less" : "more"} ${words}`);
  return `${waits}${better ? "Why" : "What differs"}: a request of ${run.name} takes ${told.join(", ")}.`;
}

// Sliders for the reader, and a chip a run that shows or hides it.
function controls(view) {
  const chips = view.runs.map((run, i) => {
    const press = () => {
      if (view.hidden.has(run)) view.hidden.delete(run);
      else if (view.shown().length > 1) view.hidden.add(run);
      chip.setAttribute("aria-pressed", String(!view.hidden.has(run)));
      view.changed("runs");
    };
    const mark = dot(view.colour(run));
    const own = Object.values(run.own_facts).join(", ");
    const chip = el("button", { type: "button", class: "chip", "aria-pressed": "true", title: own || null, onclick: press }, mark, run.name, i === 0 && view.runs.length > 1 ? el("small", {}, " base") : null);
    view.on((what) => what === "theme" && mark.style.setProperty("background", view.colour(run)));
    return chip;
  });
  const row = el("div", { class: "controls", role: "group", "aria-label": "Reader and runs" });
  if (view.runs.length > 1) row.append(el("div", { class: "chips", role: "group", "aria-label": "Runs shown" }, ...chips));
  if (view.reader) row.append(...readerControls(view));
  return row.childElementCount ? row : el("div", { hidden: true });
}

function readerControls(view) {
  const first = view.runs.find((run) => run.readers).readers.user;
  const change = (name, value) => {
    view.reader[name] = value;
    view.changed("reader");
  };
  const v = slider("V", "s a token", 0, 0.5, 0.005, view.reader.v, (value) => {
    if (value === 0 && view.reader.alpha === null) return; // 1/V has no value there
    change("v", value);
  });
  const s = slider("S", "s for the first", 0, 10, 0.1, view.reader.s, (value) => change("s", value));
  if (first.origin !== "arrival") s.disable("the clock of these readers begins with the first token");
  const auto = el("input", { type: "checkbox", id: "alpha-auto" });
  const alpha = slider("alpha", "tokens/s waited", 0, 100, 0.5, view.reader.alpha ?? 1 / view.reader.v, (value) => {
    auto.checked = false;
    change("alpha", value);
  });
  auto.checked = view.reader.alpha === null;
  auto.addEventListener("change", () => change("alpha", auto.checked ? null : alpha.value()));
  view.on(() => auto.checked && view.reader.v > 0 && alpha.show(1 / view.reader.v));
  const reset = el("button", { type: "button", onclick: () => {
    view.reader = { ...view.own };
    v.show(view.own.v);
    s.show(view.own.s);
    auto.checked = view.own.alpha === null;
    if (view.own.alpha !== null) alpha.show(view.own.alpha);
    view.changed("reader");
  } }, "Reset");
  return [v.place, s.place, alpha.place, el("label", { class: "auto" }, auto, "alpha = 1/V"), reset];
}

// A range with a number beside it, which takes any value from 0 on.
function slider(name, unit, min, max, step, value, changed) {
  const range = el("input", { type: "range", min, max, step, "aria-label": `${name}, ${unit}` });
  const exact = el("input", { type: "number", min, step: "any", "aria-label": `${name} exactly, ${unit}` });
  const show = (next) => {
    range.value = next;
    exact.value = +next.toPrecision(6);
  };
  range.addEventListener("input", () => {
    exact.value = range.value;
    changed(Number(range.value));
  });
  exact.addEventListener("input", () => {
    const next = exact.valueAsNumber;
    if (!(next >= 0)) return;
    range.value = next;
    changed(next);
  });
  show(value);
  const place = el("div", { class: "slider" }, el("span", { class: "name" }, name), range, exact, el("small", {}, unit));
  const disable = (why) => {
    range.disabled = exact.disabled = true;
    place.title = why;
  };
  return { place, show, disable, value: () => exact.valueAsNumber };
}

function cards(view) {
  const place = el("section", { class: "cards", "aria-label": "Headline numbers" });
  const fill = () => place.replaceChildren(...CARDS.filter(([key]) => view.runs.some((run) => run.now[key] !== undefined)).map((each) => card(view, ...each)));
  view.on(fill);
  fill();
  return place;
}

function card(view, key, title, note) {
  const measure = view.measures.get(key);
  const values = view.shown().map((run) => seedMean(view, run, key));
  const largest = Math.max(...values.map((value) => Math.abs(value ?? 0)), 1e-12);
  const best = values.length > 1 ? (measure.higher ? Math.max : Math.min)(...values.filter((value) => value !== null)) : null;
  const rows = view.shown().map((run, i) => {
    const apart = against(view, run, key);
    const value = values[i];
    return el("div", { class: `row${value === best ? " best" : ""}` },
      view.runs.length > 1 ? el("span", { class: "who" }, dot(view.colour(run)), run.name) : null,
      el("span", { class: "value", "data-key": key, "data-run": run.name }, key === GOOD_PRICE ? (value === null ? "none: no goodput" : `$${number(value)}`) : withUnit(value, measure.unit.startsWith("share of") ? "share of" : measure.unit)),
      view.runs.length > 1 ? el("span", { class: "bar", "aria-hidden": "true" }, el("span", { style: { width: `${(100 * Math.max(value ?? 0, 0)) / largest}%`, background: view.colour(run) } })) : null,
      apart ? mark(apart) : null);
  });
  const of = view.runs[0].counts[key];
  return el("article", { class: "card" }, el("h2", {}, title), ...rows, el("p", { class: "note" }, of ? `${note}; of ${of}` : note));
}

// A difference: which way, how far, how sure. Told by a sign and words, not by colour alone.
function mark(apart) {
  if (apart.better === null) return el("span", { class: "apart" }, "=");
  const unsure = apart.sure === false;
  const kind = unsure ? "unsure" : apart.better ? "better" : "worse";
  return el("span", { class: `apart ${kind}` },
    `${unsure ? "≈" : apart.better ? "▲" : "▼"} ${apart.text}`,
    apart.interval ? el("small", {}, ` ${apart.interval}${unsure ? ", not sure" : ""}`) : null);
}

const SPENT = [["queue", "waits in the queue", "queue"], ["prompt", "its prompt is computed", "prompt"], ["answer", "its answer comes", "answer"]];

function why(view) {
  if (!view.runs.some((run) => run.spent)) return el("div", { hidden: true });
  const place = el("div", { class: "spent" });
  const fill = () => {
    const shown = view.shown().filter((run) => run.spent);
    const longest = Math.max(...shown.map((run) => SPENT.reduce((sum, [name]) => sum + run.spent[name], 0)), 1e-12);
    place.replaceChildren(...shown.map((run) => el("div", { class: "bars" },
      el("span", { class: "who" }, dot(view.colour(run)), run.name),
      el("span", { class: "stack" }, ...SPENT.map(([name, words, kind]) => el("span", { class: `part ${kind}`, title: `${words}: ${seconds(run.spent[name])}`, style: { width: `${(100 * run.spent[name]) / longest}%` } }))),
      el("span", { class: "told" }, SPENT.map(([name]) => seconds(run.spent[name])).join(" + ")))));
  };
  view.on((what) => what !== "reader" && fill());
  fill();
  return section("spent", "Where a request's time goes", null, el("p", { class: "key" }, ...SPENT.flatMap(([, words, kind]) => [el("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), `${words}  `])), place,
    el("p", { class: "note" }, "Seconds on average over the requests that got a first token."));
}

// Smooth goodput over V and over alpha, computed here.
function readerSection(view) {
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
    const place = chart(label, () => lineOption({ lines: made(), x: { log: true, ...x }, y: { scale: true, label: (value) => value.toLocaleString("en") }, at: x.at(), shown: (value) => `${number(value)} tokens/s` }));
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

function distributionsSection(view) {
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

function comparisonSection(view) {
  const all = el("input", { type: "checkbox", id: "all-measures" });
  const place = el("div");
  const fill = () => {
    const rows = view.report.measures.filter((each) => (all.checked || each.usual) && view.runs.some((run) => typeof run.now[each.key] === "number"));
    const value = (run, row) => seedMean(view, run, row.key);
    const columns = [{ name: "measure", sort: (row) => row.label }, { name: "unit", sort: (row) => row.unit }];
    const made = [(row) => row.label, (row) => unitOf(row.unit)];
    view.runs.forEach((run, i) => {
      columns.push({ name: run.name, number: true, sort: (row) => value(run, row) });
      made.push((row) => (row.unit.startsWith("share of") ? number(value(run, row) === null ? null : 100 * value(run, row)) : number(value(run, row))));
      if (i === 0) return;
      columns.push({ name: "difference", number: true, sort: (row) => against(view, run, row.key)?.apart ?? null });
      made.push((row) => {
        const apart = against(view, run, row.key);
        return apart ? mark(apart) : "-";
      });
    });
    place.replaceChildren(table({ caption: "Comparison", columns, rows, cells: (row) => made.map((make) => make(row)) }));
  };
  all.addEventListener("change", fill);
  view.on((what) => what !== "theme" && fill());
  fill();
  return section("comparison", view.runs.length > 1 ? "Comparison" : "Numbers", null, el("label", { class: "auto" }, all, "all measures"), place,
    view.runs.length > 1 ? el("p", { class: "note" }, `▲ better, ▼ worse, ≈ not sure; where no interval stands, none is known. ${signedNote(view)}`) : null);
}

const signedNote = (view) => `Differences are to ${view.runs[0].name}; intervals ${certainty(view)}.`;

function slowestSection(view) {
  const place = el("div");
  const pick = el("select", { "aria-label": "Run" }, ...view.runs.map((run, i) => el("option", { value: i }, run.name)));
  const fill = () => {
    const run = view.runs[pick.value];
    const wait = (row) => run.scored?.idle[row.request] ?? null;
    const columns = [
      { name: "request", number: true, sort: (row) => row.request },
      { name: "took", unit: "s", number: true, sort: (row) => row.took_s },
      { name: "first token", unit: "s", number: true, sort: (row) => row.ttft_s },
      ...(run.scored ? [{ name: "reader waits", unit: "s", number: true, sort: wait }] : []),
      { name: "prompt", unit: "tokens", number: true, sort: (row) => row.prompt },
      { name: "answer", unit: "tokens", number: true, sort: (row) => row.tokens },
      { name: "why", sort: (row) => row.why ?? "" },
    ];
    const cells = (row) => [
      view.goTo ? el("button", { type: "button", class: "link", onclick: () => view.goTo(row.request) }, String(row.request)) : String(row.request),
      number(row.took_s), number(row.ttft_s), ...(run.scored ? [number(wait(row))] : []), row.prompt.toLocaleString("en"),
      row.tokens === row.asked ? row.tokens.toLocaleString("en") : `${row.tokens.toLocaleString("en")} of ${row.asked.toLocaleString("en")}`,
      row.explained ? el("details", { class: "wide" }, el("summary", {}, row.why), el("ul", {}, ...row.explained.map((line) => el("li", {}, line)))) : "-",
    ];
    place.replaceChildren(table({ caption: `The slowest requests of ${run.name}`, columns, rows: run.slowest, cells, sorted: 1 }),
      ...(run.slowest_note ? [el("p", { class: "note" }, `Why is not known: ${run.slowest_note}.`)] : []));
  };
  pick.addEventListener("change", fill);
  view.on((what) => what === "reader" && fill());
  fill();
  return section("slowest", `The slowest ${view.runs[0].slowest.length} requests, and why`, null, view.runs.length > 1 ? el("label", { class: "auto" }, "of ", pick) : null, place);
}

function simulated(view) {
  const list = (facts) => el("dl", {}, ...Object.entries(facts).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  return section("simulated", "What was simulated", null, ...view.runs.map((run) => el("details", { open: view.runs.length === 1 },
    el("summary", {}, dot(view.colour(run)), run.name), list(run.facts),
    run.notes.length ? el("ul", {}, ...run.notes.map((note) => el("li", {}, note))) : null)));
}
