// A sweep or a plan: what depends on what, which points are not beaten, and all of them in a table.

import { number, whole } from "./page_metrics.js";
import { dot, el, section, unitOf, withUnit } from "./page_text.js";
import { chart, isDark, lineOption, pointsOption } from "./page_charts.js";
import { table } from "./page_tables.js";

const short = (axis) => axis.slice(axis.lastIndexOf(".") + 1);

export async function renderStudy(report, place) {
  const listeners = [];
  const view = {
    report,
    measures: new Map(report.measures.map((each) => [each.key, each])),
    rows: report.rows,
    on: (listener) => listeners.push(listener),
    changed: (what) => listeners.forEach((listener) => listener(what)),
    value: (row, key) => row.numbers[key]?.[0] ?? null,
  };
  view.colour = (axis, value) => report.colours[`${axis}=${value}`]?.[isDark() ? "dark" : "light"] ?? "#6E6E6E";
  view.measure = view.measures.get(report.measures.find((each) => view.rows.some((row) => row.numbers[each.key]) && each.key !== "usd_per_hour" && each.key !== "margin")?.key ?? report.measures[0].key);
  place.append(...(report.kind === "plan" ? [planAnswer(view), pareto(view), candidates(view)] : [best(view), ...dependence(view), ...(report.answer ? [] : [pareto(view)]), points(view)]));
  return view;
}

function measurePicker(view, label, key, changed) {
  const there = view.report.measures.filter((each) => view.rows.some((row) => row.numbers[each.key]));
  const option = (each) => el("option", { value: each.key, selected: each.key === key }, each.unit ? `${each.label} (${unitOf(each.unit)})` : each.label);
  const groups = [["usual", there.filter((each) => each.usual)], ["all others", there.filter((each) => !each.usual)]].filter(([, some]) => some.length);
  const pick = el("select", { onchange: () => changed(pick.value) }, ...groups.map(([name, some]) => el("optgroup", { label: name }, ...some.map(option))));
  return el("label", { class: "auto" }, label, " ", pick);
}

const axisName = (measure) => (measure.unit ? `${measure.label} (${unitOf(measure.unit)})` : measure.label);
const scaled = (measure, value) => (value !== null && measure.unit.startsWith("share of") ? 100 * value : value);

// The best point by the measure of the moment, and how far the next one is.
function best(view) {
  const place = el("section", { class: "verdict", "aria-live": "polite", "aria-label": "The answer" });
  const fill = () => {
    const { measure } = view;
    const order = view.rows.filter((row) => view.value(row, measure.key) !== null).sort((a, b) => (measure.higher ? -1 : 1) * (view.value(a, measure.key) - view.value(b, measure.key)));
    const failed = view.rows.reduce((sum, row) => sum + row.failed.length, 0);
    const [first, second] = order;
    const { answer } = view.report;
    place.replaceChildren(...[
      answer ? el("p", { class: "lead" }, el("strong", {}, answer), ` for ${view.report.common_facts.target}.`) : null,
      answer ? null : el("p", { class: "lead" }, first ? [el("strong", {}, first.name), ` has the best ${measure.label}: ${told(view, first, measure)}.`] : "No point has this number."),
      second && !answer ? el("p", {}, `Next: ${second.name}, ${told(view, second, measure)}${overlap(first, second, measure) ? "; their intervals overlap" : ""}.`) : null,
      failed ? el("p", { class: "note" }, `${failed} simulations failed.`) : null,
    ].filter(Boolean));
  };
  view.on(fill);
  fill();
  return place;
}

function told(view, row, measure) {
  const [mean, low, high] = row.numbers[measure.key];
  const said = withUnit(mean, measure.unit);
  return low === null ? said : `${said} (95 %: ${number(scaled(measure, low))} to ${number(scaled(measure, high))})`;
}

function overlap(a, b, measure) {
  const [[, low, high], [, others, above]] = [a.numbers[measure.key], b.numbers[measure.key]];
  return low !== null && others !== null && low <= above && others <= high;
}

// Lines over the axis of numbers with most values, and a map for every two axes of a study that has two.
function dependence(view) {
  const { axes } = view.report;
  const values = axes.map((_, i) => [...new Set(view.rows.map((row) => row.place[i]))]);
  const numeric = axes.map((_, i) => values[i].length > 1 && values[i].every((value) => typeof value === "number"));
  const x = numeric.reduce((most, is, i) => (is && (most < 0 || values[i].length > values[most].length) ? i : most), -1);
  const pick = measurePicker(view, "Show", view.measure.key, (key) => {
    view.measure = view.measures.get(key);
    view.changed("measure");
  });
  const parts = [pick];
  if (x >= 0) parts.push(lines(view, x));
  if (axes.length === 2) parts.push(heatMap(view, values));
  return [section("dependence", "What depends on what", null, ...parts)];
}

function lines(view, x) {
  const { axes } = view.report;
  const others = axes.map((_, i) => i).filter((i) => i !== x);
  const groups = () => {
    const found = new Map();
    for (const row of [...view.rows].sort((a, b) => a.place[x] - b.place[x])) {
      const name = others.map((i) => row.place[i]).join(", ") || view.measure.label;
      if (!found.has(name)) found.set(name, []);
      if (view.value(row, view.measure.key) !== null) found.get(name).push(row);
    }
    return found;
  };
  // One axis besides gives the colours; of more, the first that is not a number.
  const by = others.find((i) => typeof view.rows[0].place[i] === "string") ?? others[0];
  const { palette } = view.report;
  const colourOf = (rows, nth) => (others.length === 1 && by !== undefined ? view.colour(axes[by], rows[0]?.place[by]) : palette[nth % palette.length][isDark() ? "dark" : "light"]);
  const made = () => [...groups()].flatMap(([name, rows], nth) => {
    const of = (end) => rows.map((row) => [row.place[x], scaled(view.measure, row.numbers[view.measure.key][end])]);
    const colour = colourOf(rows, nth);
    const known = rows.some((row) => row.numbers[view.measure.key][1] !== null);
    return [{ name, colour, points: of(0) }, ...(known ? [1, 2].map((end) => ({ name: `${name}, 95 % ${end === 1 ? "from" : "to"}`, colour, dashed: true, width: 1, points: of(end) })) : [])];
  });
  const option = () => lineOption({ lines: made(), x: { name: axes[x], min: "dataMin", max: "dataMax" }, at: view.report.at ?? null, y: { scale: true, name: axisName(view.measure) }, shown: (value) => number(value) });
  const place = chart(`${view.measure.label} by ${axes[x]}`, option, { height: 340 });
  const key = el("p", { class: "key" });
  const fill = () => {
    key.replaceChildren(...[...groups()].flatMap(([name, rows], nth) => [dot(colourOf(rows, nth)), `${name}   `]));
    place.redraw();
  };
  view.on(fill);
  fill();
  return el("figure", {}, key, place, el("p", { class: "note" }, "Dashed: the 95 % interval over seeds, where there are several."));
}

function heatMap(view, values) {
  const { axes } = view.report;
  const [down, across] = values[0].length > values[1].length ? [0, 1] : [1, 0];
  const place = el("div", { class: "table", role: "region", "aria-label": "Map", tabindex: "0" });
  const fill = () => {
    const at = new Map(view.rows.map((row) => [JSON.stringify([row.place[down], row.place[across]]), row]));
    const found = view.rows.map((row) => view.value(row, view.measure.key)).filter((value) => value !== null);
    const [least, most] = [Math.min(...found), Math.max(...found)];
    const cell = (a, b) => {
      const row = at.get(JSON.stringify([a, b]));
      const value = row ? view.value(row, view.measure.key) : null;
      const share = value === null ? 0 : (value - least) / (most - least || 1);
      const good = view.measure.higher ? share : 1 - share;
      return el("td", { class: "heat", style: { background: value === null ? "transparent" : `color-mix(in srgb, var(--heat) ${Math.round(8 + 47 * good)}%, var(--ground))` } }, number(scaled(view.measure, value)));
    };
    const sorted = (some) => [...some].sort((a, b) => (typeof a === "number" ? a - b : 0));
    place.replaceChildren(el("table", {}, el("caption", {}, `${axisName(view.measure)} by ${axes[down]} and ${axes[across]}`),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, `${short(axes[down])} \\ ${short(axes[across])}`), ...sorted(values[across]).map((b) => el("th", { scope: "col", class: "number" }, String(b))))),
      el("tbody", {}, ...sorted(values[down]).map((a) => el("tr", {}, el("th", { scope: "row" }, String(a)), ...sorted(values[across]).map((b) => cell(a, b)))))));
  };
  view.on(fill);
  fill();
  return el("div", {}, place, el("p", { class: "note" }, "Deeper is better."));
}

const LOWEST_SHOWN = 0.25; // of the largest value, below 0

// The points that no other beats in both of two measures have names.
function pareto(view) {
  const keys = [...view.report.against];
  const { axes, kind } = view.report;
  const by = axes.findIndex((axis, i) => typeof view.rows[0]?.place[i] === "string" && (kind === "plan" ? axis === "gpu" : true));
  const note = el("p", { class: "note" });
  const better = (measure, a, b) => (measure.higher ? a > b : a < b);
  const option = () => {
    const [x, y] = keys.map((key) => view.measures.get(key));
    const known = view.rows.filter((row) => keys.every((key) => view.value(row, key) !== null));
    const floor = keys.map((key) => -LOWEST_SHOWN * Math.max(...known.map((row) => view.value(row, key)), 0));
    const there = known.filter((row) => keys.every((key, i) => view.value(row, key) >= floor[i]));
    note.textContent = `Named points: no other is at least as good in both numbers and better in one${kind === "plan" ? ", of those that keep the target" : ""}.${there.length < known.length ? ` ${known.length - there.length} points far below 0 are not shown.` : ""}`;
    const beats = (a, b) => [x, y].every((each) => !better(each, view.value(b, each.key), view.value(a, each.key))) && [x, y].some((each) => better(each, view.value(a, each.key), view.value(b, each.key)));
    const groups = new Map();
    for (const row of there) {
      const name = by < 0 ? "points" : String(row.place[by]);
      if (!groups.has(name)) groups.set(name, { name, colour: by < 0 ? "#0072B2" : view.colour(axes[by], row.place[by]), points: [] });
      const front = row.state !== "missed" && !there.some((other) => other.state !== "missed" && beats(other, row));
      groups.get(name).points.push({ name: row.name, short: row.short ?? row.name, front, value: keys.map((key) => scaled(view.measures.get(key), view.value(row, key))) });
    }
    const log = (measure, i) => {
      const values = there.map((row) => view.value(row, keys[i])).filter((value) => value !== null);
      return values.length > 1 && Math.min(...values) > 0 && Math.max(...values) > 20 * Math.min(...values);
    };
    return pointsOption({ groups: [...groups.values()], x: { name: axisName(x), log: log(x, 0) }, y: { name: axisName(y), log: log(y, 1) } });
  };
  const place = chart("Points by two measures", option, { height: 380 });
  const pick = (label, i) => measurePicker(view, label, keys[i], (key) => {
    keys[i] = key;
    place.redraw();
  });
  view.on((what) => what === "theme" && place.redraw());
  const names = by < 0 ? [] : [...new Set(view.rows.map((row) => row.place[by]))];
  const legend = el("p", { class: "key" }, ...names.flatMap((name) => [dot(view.colour(axes[by], name)), `${name}   `]));
  return section("pareto", "Which are not beaten", null, note,
    el("div", { class: "row" }, pick("Across", 0), pick("Up", 1)), el("figure", {}, legend, place));
}

function measureColumns(view, some) {
  return some.map((each) => ({ name: each.label, unit: unitOf(each.unit), number: true, sort: (row) => view.value(row, each.key) }));
}

function points(view) {
  const some = view.report.measures.filter((each) => each.usual && view.rows.some((row) => row.numbers[each.key])).slice(0, 12);
  const cell = (row, measure) => {
    const found = row.numbers[measure.key];
    if (!found) return "-";
    const [mean, low, high] = found.map((each) => (each === null ? null : scaled(measure, each)));
    return [number(mean), low === null ? null : el("small", {}, ` ${number(low)} to ${number(high)}`)];
  };
  const columns = [...view.report.axes.map((axis, i) => ({ name: short(axis), sort: (row) => row.place[i] })), ...measureColumns(view, some)];
  return section("points", "All points", "Small: the 95 % interval over seeds.", table({
    caption: "All points", columns, rows: view.rows,
    cells: (row) => [...row.place.map((each) => (typeof each === "number" ? number(each) : String(each))), ...(row.failed.length && !Object.keys(row.numbers).length ? some.map((_, i) => (i ? "" : `failed: ${row.failed[0]}`)) : some.map((each) => cell(row, each)))],
  }));
}

function planAnswer(view) {
  const { plan, runner_up: next, keeps, launch, robustness } = view.report;
  const place = el("section", { class: "verdict", "aria-label": "The answer" });
  if (!plan) return el("section", { class: "verdict" }, el("p", { class: "lead" }, "Nothing was simulated whole, so there is no plan."));
  const price = (each) => `$${number(each.usd_per_hour, 3)} an hour`;
  const margin = (each) => (each.margin === null ? "" : `, margin ${number(100 * each.margin, 3)} %`);
  place.append(el("p", { class: "lead" }, el("strong", {}, plan.name), keeps ? ` keeps the target at ${price(plan)}${margin(plan)}.` : ` is the nearest, and misses the target${margin(plan)}.`));
  if (next) place.append(el("p", {}, `Runner-up: ${next.name}, ${price(next)}${margin(next)}.`));
  const held = robustness.filter((each) => each.keeps).length;
  if (robustness.length) place.append(el("details", {}, el("summary", {}, `It keeps the target in ${held} of ${robustness.length} changes of the traffic and of the steps`), el("ul", {}, ...robustness.map((each) => el("li", {}, `${each.what}: ${each.keeps ? "keeps" : "misses"}${margin(each)}${each.note ? ` (${each.note})` : ""}`)))));
  if (launch.length) place.append(el("details", {}, el("summary", {}, "How to start it"), el("pre", {}, launch.join("\n"))));
  return place;
}

function candidates(view) {
  const some = view.report.measures.filter((each) => view.rows.some((row) => row.numbers[each.key]));
  const columns = [{ name: "candidate", sort: (row) => row.name }, ...measureColumns(view, some), { name: "state", sort: (row) => row.state }, { name: "why", sort: (row) => row.reason ?? "" }];
  const all = el("input", { type: "checkbox", onchange: () => made.refill(shown()) });
  const simulated = view.rows.filter((row) => some.some((each) => each.key !== "usd_per_hour" && row.numbers[each.key]));
  const shown = () => (all.checked ? view.rows : simulated);
  const made = table({
    caption: "Candidates", columns, rows: shown(), sorted: 1, descending: false,
    cells: (row) => [row.name, ...some.map((each) => number(scaled(each, view.value(row, each.key)))), row.state, el("div", { class: "wide" }, row.reason ?? "")],
  });
  return section("candidates", "Candidates", null, el("label", { class: "auto" }, all, `also the ${whole(view.rows.length - simulated.length)} that were not simulated whole`), made);
}
