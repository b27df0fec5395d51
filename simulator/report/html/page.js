// Shows a document: `start` for a page of its own, `render` for one that has the library already.

import { inflate } from "./page_metrics.js";
import { el } from "./page_text.js";
import { drawAhead, drawAll, drawSeen, forgetAll, redrawAll, resizeAll } from "./page_charts.js";
import { renderRuns } from "./page_runs.js";
import { renderStudy } from "./page_studies.js";
import { renderRates } from "./page_rates.js";
import { renderClaims } from "./page_claims.js";

const RENDERERS = { runs: renderRuns, rates: renderRates, claims: renderClaims };
const KEPT = "servesim-theme";
let listening = new AbortController(); // to what changes outside, for the document that is shown

// The library is taken apart while the numbers are computed; charts wait for it.
export async function start(report) {
  const place = document.getElementById("report");
  try {
    await Promise.all([library(), render(report, place)]);
    place.dataset.ready = "true";
    setTimeout(drawAhead);
  } catch (error) {
    place.append(el("p", { class: "warnings" }, `This page cannot be drawn here: ${error.message}. It needs a browser of 2023 or later.`));
    throw error;
  }
}

async function library() {
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(await inflate(document.getElementById("library").textContent));
  document.head.append(script);
  drawSeen();
}

// Replaces what is in `place` by the document; returns when all numbers are there.
export async function render(report, place) {
  window.REPORT = report;
  forgetAll();
  listening.abort();
  listening = new AbortController();
  const { signal } = listening;
  const listeners = [];
  const head = header(report, () => {
    listeners.forEach((listener) => listener());
    redrawAll();
  });
  const body = el("div");
  const view = await (RENDERERS[report.kind] ?? renderStudy)(report, body);
  listeners.push(() => view.changed("theme"));
  place.replaceChildren(head, body, el("footer", { class: "note" }, report.made ?? "Made by servesim."));
  window.addEventListener("resize", resizeAll, { signal });
  window.addEventListener("beforeprint", drawAll, { signal });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view.changed("theme"), { signal });
}

function header(report, changed) {
  const root = document.documentElement;
  const kept = recall();
  if (kept) root.dataset.theme = kept;
  const dark = () => getComputedStyle(root).getPropertyValue("--dark").trim() === "1";
  const press = () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remember(root.dataset.theme);
    label();
    changed();
  };
  const theme = el("button", { type: "button", id: "theme", onclick: press });
  const label = () => (theme.textContent = dark() ? "Light" : "Dark");
  label();
  const facts = Object.values(report.common_facts ?? {}).join(" · ");
  return el("header", {},
    el("div", { class: "top" }, el("h1", {}, report.title), el("div", { class: "row no-print" }, theme, el("button", { type: "button", onclick: () => window.print() }, "Print"))),
    el("p", { class: "facts" }, facts),
    report.notes?.length ? el("ul", { class: "warnings" }, ...report.notes.map((note) => el("li", {}, note))) : null);
}

// A file opened from a disk may have no storage.
function recall() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

function remember(theme) {
  try {
    localStorage.setItem(KEPT, theme);
  } catch {
    // then the next page begins with the system's
  }
}
