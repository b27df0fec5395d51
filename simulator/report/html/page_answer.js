// The answer: which run is better, by how much, whether it is sure, and why; cards with the numbers behind it.

import { number } from "./page_metrics.js";
import { dot, el, plural, seconds, section, withUnit } from "./page_text.js";
import { ATTAINED, GOOD_PRICE, SMOOTH, WAIT, against, certainty, scope, seedMean } from "./page_differences.js";

const CARDS = [
  [SMOOTH, "Smooth goodput", "tokens delivered less what waiting costs"],
  [ATTAINED, "Answers without a wait", "every token there when its reader wants it"],
  [WAIT, "A reader waits, on average", "for all late tokens of an answer together"],
  ["latency.ttft_s.p99", "First token, p99", "from the arrival"],
  ["latency.tbt_s.p99", "Between tokens, p99", "of all gaps"],
  [GOOD_PRICE, "A million smooth-good tokens", "at the price of the GPU hours"],
];

// The answer: which is better, by how much, is it sure, why.
export function answer(view) {
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

export function cards(view) {
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
export function mark(apart) {
  if (apart.better === null) return el("span", { class: "apart" }, "=");
  const unsure = apart.sure === false;
  const kind = unsure ? "unsure" : apart.better ? "better" : "worse";
  return el("span", { class: `apart ${kind}` },
    `${unsure ? "≈" : apart.better ? "▲" : "▼"} ${apart.text}`,
    apart.interval ? el("small", {}, ` ${apart.interval}${unsure ? ", not sure" : ""}`) : null);
}

const SPENT = [["queue", "waits in the queue", "queue"], ["prompt", "its prompt is computed", "prompt"], ["answer", "its answer comes", "answer"]];

export function why(view) {
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
