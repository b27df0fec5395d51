// Tables of runs: all their numbers, their slowest requests, what was simulated.

import { number, whole } from "./page_metrics.js";
import { dot, el, section, unitOf } from "./page_text.js";
import { table } from "./page_tables.js";
import { against, certainty, seedMean } from "./page_differences.js";
import { mark } from "./page_answer.js";

export function comparisonSection(view) {
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

export function slowestSection(view) {
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
      number(row.took_s), number(row.ttft_s), ...(run.scored ? [number(wait(row))] : []), whole(row.prompt),
      row.tokens === row.asked ? whole(row.tokens) : `${whole(row.tokens)} of ${whole(row.asked)}`,
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

export function simulated(view) {
  const list = (facts) => el("dl", {}, ...Object.entries(facts).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  return section("simulated", "What was simulated", null, ...view.runs.map((run) => el("details", { open: view.runs.length === 1 },
    el("summary", {}, dot(view.colour(run)), run.name), list(run.facts),
    run.notes.length ? el("ul", {}, ...run.notes.map((note) => el("li", {}, note))) : null)));
}
