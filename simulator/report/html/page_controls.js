// What a page of runs is asked: for which reader, and which of the runs to show.

import { dot, el } from "./page_text.js";

// Sliders for the reader, and a chip a run that shows or hides it.
export function controls(view) {
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

const ORIGINS = { arrival: "the arrival", first_token: "the first token" };

export function readerControls(view) {
  const change = (name, value) => {
    view.reader[name] = value;
    view.changed("reader");
  };
  const v = slider("V", "s a token", 0, 0.5, 0.005, view.reader.v, (value) => {
    if (value === 0 && view.reader.alpha === null) return; // 1/V has no value there
    change("v", value);
  });
  const s = slider("S", "s for the first", 0, 10, 0.1, view.reader.s, (value) => change("s", value));
  const origin = el("select", { id: "origin" }, ...Object.entries(ORIGINS).map(([value, words]) => el("option", { value }, words)));
  const clock = () => {
    origin.value = view.reader.origin;
    s.disable(view.reader.origin === "arrival" ? null : "the readers' clock begins with the first token");
  };
  clock();
  origin.addEventListener("change", () => {
    view.reader.origin = origin.value;
    clock();
    view.changed("reader");
  });
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
    clock();
    auto.checked = view.own.alpha === null;
    if (view.own.alpha !== null) alpha.show(view.own.alpha);
    view.changed("reader");
  } }, "Reset");
  return [v.place, s.place, alpha.place, el("label", { class: "auto" }, auto, "alpha = 1/V"), el("label", { class: "auto" }, "clock from ", origin), reset];
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
    range.disabled = exact.disabled = why !== null;
    place.title = why ?? "";
  };
  return { place, show, disable, value: () => exact.valueAsNumber };
}
