// Runs at several rates: smooth goodput over the rate, for any reader.

import { number, percent, score, unpackReaders } from "./page_metrics.js";
import { dot, el, section } from "./page_text.js";
import { chart, isDark, lineOption } from "./page_charts.js";
import { table } from "./page_tables.js";
import { ATTAINED, SMOOTH } from "./page_differences.js";
import { readerControls } from "./page_controls.js";

const LINES = [["#0072B2", "#3DB9FF"], ["#D55E00", "#FF933D"], ["#009E73", "#3DFFCA"], ["#CC79A7", "#CC79A7"]];

export async function renderRates(report, place) {
  const view = { report, listeners: [] };
  view.runs = await Promise.all(report.runs.map(async (run) => ({ ...run, readers: await unpackReaders(run.readers) })));
  const { user } = view.runs[0].readers;
  view.own = { v: user.v_s, s: user.s_s, alpha: user.alpha, origin: user.origin };
  view.reader = { ...view.own };
  view.on = (listener) => view.listeners.push(listener);
  view.changed = (what) => {
    if (what === "reader") for (const run of view.runs) run.now = score(run.readers, view.reader).values;
    for (const listener of view.listeners) listener(what);
  };
  view.changed("reader");
  const servers = [...new Set(view.runs.map((run) => run.server))];
  const rates = [...new Set(view.runs.map((run) => run.rate_rps))].sort((a, b) => a - b);
  const colour = (server) => LINES[servers.indexOf(server) % LINES.length][Number(isDark())];
  const at = (server, rate) => view.runs.find((run) => run.server === server && run.rate_rps === rate);
  place.append(
    bestRates(view, servers, rates, at),
    el("div", { class: "controls", role: "group", "aria-label": "Reader" }, ...readerControls(view)),
    rateCurves(view, servers, rates, at, colour),
    rateNumbers(view, servers, rates, at));
  return view;
}

function bestRates(view, servers, rates, at) {
  const place = el("section", { class: "verdict", "aria-live": "polite", "aria-label": "The answer" });
  const fill = () => place.replaceChildren(...servers.map((server) => {
    const runs = rates.map((rate) => at(server, rate)).filter(Boolean);
    const top = runs.reduce((one, other) => (other.now[SMOOTH] > one.now[SMOOTH] ? other : one));
    const where = top === runs.at(-1) ? ", the highest tried" : top === runs[0] ? ", the lowest tried" : "";
    return el("p", {}, el("strong", {}, server), ` is worth most at ${number(top.rate_rps, 3)} requests/s${where}: ${number(top.now[SMOOTH])} tokens/s.`);
  }));
  view.on(fill);
  fill();
  return place;
}

function rateCurves(view, servers, rates, at, colour) {
  const lines = (key, factor) => () => servers.map((server) => ({
    name: server, colour: colour(server), points: rates.filter((rate) => at(server, rate)).map((rate) => [rate, factor * at(server, rate).now[key]]),
  }));
  const draw = (title, made, y, shown) => {
    const place = chart(title, () => lineOption({ lines: made(), x: { name: "requests/s", log: true }, y, shown }));
    view.on(() => place.redraw());
    return el("figure", {}, el("figcaption", {}, title), place);
  };
  const legend = el("p", { class: "key" });
  const fill = () => legend.replaceChildren(...servers.flatMap((server) => [dot(colour(server)), `${server}  `]));
  view.on((what) => what === "theme" && fill());
  fill();
  return section("rates", "Over the rate", "Computed here from what decides each reader's wait.", legend, el("div", { class: "pair" },
    draw("Smooth goodput, tokens/s", lines(SMOOTH, 1), { scale: true }, (value) => `${number(value)} tokens/s`),
    draw("Answers without a wait, % of arrived", lines(ATTAINED, 100), { min: 0, max: 100, interval: 25 }, (value) => `${number(value, 3)} %`)));
}

function rateNumbers(view, servers, rates, at) {
  const place = el("div");
  const columns = [{ name: "rate", unit: "requests/s", number: true, sort: (rate) => rate }, ...servers.flatMap((server) => [
    { name: server, unit: "tokens/s", number: true, sort: (rate) => at(server, rate)?.now[SMOOTH] ?? null },
    { name: "without a wait", unit: "% of arrived", number: true, sort: (rate) => at(server, rate)?.now[ATTAINED] ?? null }])];
  const cells = (rate) => [number(rate, 3), ...servers.flatMap((server) => [number(at(server, rate)?.now[SMOOTH] ?? null), percent(at(server, rate)?.now[ATTAINED])])];
  const fill = () => place.replaceChildren(table({ caption: "Smooth goodput and answers without a wait", columns, rows: rates, cells }));
  view.on((what) => what === "reader" && fill());
  fill();
  return section("rates-numbers", "Numbers", null, place);
}
