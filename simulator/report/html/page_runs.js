// Runs beside one another: scored for the reader of the moment, and everything that shows them.

import { score, unpackReaders } from "./page_metrics.js";
import { isDark } from "./page_charts.js";
import { FOLLOWS, GOOD_PRICE, SMOOTH, isOwn } from "./page_differences.js";
import { answer, cards, why } from "./page_answer.js";
import { controls } from "./page_controls.js";
import { distributionsSection, readerSection } from "./page_curves.js";
import { comparisonSection, simulated, slowestSection } from "./page_numbers.js";
import { deliverySection, unpackDeliveries } from "./page_delivery.js";
import { lanesSection, timeSection } from "./page_time.js";

export async function renderRuns(report, place) {
  const view = { report, hidden: new Set(), listeners: [], measures: new Map(report.measures.map((each) => [each.key, each])) };
  view.runs = await Promise.all(report.runs.map(unpackRun));
  for (const run of view.runs) {
    for (const name of ["prompts", "arrivalsS"]) if (run.readers && run.readers[name] === null) run.readers[name] = view.runs[0].readers[name];
  }
  const scored = view.runs.find((run) => run.readers);
  view.own = scored ? { v: scored.readers.user.v_s, s: scored.readers.user.s_s, alpha: scored.readers.user.alpha, origin: scored.readers.user.origin } : null;
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
