// Tables that sort by a column when its head is pressed; with the keyboard too, since heads are buttons.

import { el } from "./page_text.js";

// `columns` have name, and may have unit, number, sort(row); `rows` are whatever `cells(row)` makes elements or text of.
export function table({ caption, columns, rows, cells, sorted = null, descending = true, details = null }) {
  const body = el("tbody");
  let [by, down] = [sorted, descending];
  const heads = columns.map((column, i) => {
    const name = [column.name, column.unit ? el("small", {}, ` ${column.unit}`) : null];
    const press = () => {
      [by, down] = by === i ? [i, !down] : [i, Boolean(column.number)];
      fill();
    };
    return el("th", { scope: "col", class: column.number ? "number" : null }, column.sort ? el("button", { type: "button", onclick: press }, ...name) : el("span", {}, ...name));
  });

  function fill() {
    heads.forEach((head, i) => {
      if (i === by) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const order = by === null ? rows : [...rows].sort((a, b) => (down ? -1 : 1) * compare(columns[by].sort(a), columns[by].sort(b)));
    body.replaceChildren(...order.flatMap((row) => {
      const made = cells(row).map((cell, i) => el(i === 0 ? "th" : "td", { scope: i === 0 ? "row" : null, class: columns[i].number ? "number" : null }, cell));
      const more = details?.(row);
      return [el("tr", {}, ...made), ...(more ? [el("tr", { class: "more" }, el("td", { colspan: columns.length }, more))] : [])];
    }));
  }
  fill();
  const made = el("div", { class: "table", role: "region", "aria-label": `${caption}, a table that scrolls`, tabindex: "0" },
    el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, ...heads)), body));
  made.refill = (next) => {
    rows = next;
    fill();
  };
  return made;
}

function compare(a, b) {
  const none = (each) => each === null || each === undefined;
  if (none(a) || none(b)) return none(a) - none(b);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}
