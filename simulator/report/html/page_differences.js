// How runs differ from the first: in each measure by how much, and whether that is sure.

import { paired } from "./page_metrics.js";
import { change } from "./page_text.js";

export const SMOOTH = "smooth_goodput.smooth_goodput_tokens_per_s";
export const ATTAINED = "token_slo.attainment";
export const WAIT = "idle_latency.idle_latency_s.mean";
export const GOOD_PRICE = "cost.usd_per_million_smooth_good_tokens";

export const isOwn = (view) => view.reader && Object.keys(view.own).every((key) => view.own[key] === view.reader[key]);

// What follows the reader and is not computed here: shown for the runs' own reader only.
export const FOLLOWS = /^(token_slo|fluidity|qoe|fluid_rate|idle_latency|smooth_goodput)\.|smooth_good/;

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

export function seedMean(view, run, key) {
  const seeds = view.report.over_seeds;
  const mean = seeds && (isOwn(view) || !FOLLOWS.test(key)) ? seeds.means[key]?.[view.runs.indexOf(run)] : undefined;
  return mean ?? run.now[key] ?? null;
}

export const against = (view, run, key) =>
  run === view.runs[0] ? null : change(view.measures.get(key), baseValue(view, key), seedMean(view, run, key), difference(view, run, key));

export const scope = (view) => (view.report.over_seeds && isOwn(view) ? `over ${view.report.over_seeds.count} seeds` : "within this trace");

export const certainty = (view) =>
  view.report.over_seeds && isOwn(view)
    ? `paired over ${view.report.over_seeds.count} seeds, 95 %`
    : "within this trace: request by request, in 20 stretches, 95 %; one run each says nothing of other seeds";
