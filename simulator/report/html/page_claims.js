// Figures and claims with their verdicts: the table, and each with its pictures.

import { el, section } from "./page_text.js";
import { table } from "./page_tables.js";

export async function renderClaims(report, place) {
  const { claims } = report;
  const count = new Map();
  for (const each of claims) count.set(each.outcome, (count.get(each.outcome) ?? 0) + 1);
  const said = [...count].map(([outcome, many]) => `${many} ${outcome}`).join(", ");
  const columns = ["figure", "what is shown", "verdict", "what was found"].map((name) => ({ name }));
  columns[2].sort = (row) => row.outcome;
  columns[0].sort = (row) => row.name;
  place.append(
    el("section", { class: "verdict", "aria-label": "The answer" }, el("p", { class: "lead" }, `Of ${claims.length} figures and claims: ${said}.`)),
    section("verdicts", "Verdicts", null, table({ caption: "Verdicts", columns, rows: claims, cells: (row) => [el("a", { href: `#${row.id}` }, row.name), row.title, el("strong", {}, row.outcome), row.found] })),
    ...claims.map((each) => section(each.id, each.heading, `${each.outcome} (${each.runs})`,
      el("p", {}, each.claim), el("p", {}, each.numbers),
      ...each.pictures.map((picture) => el("figure", { class: "picture" }, el("img", { src: picture, alt: each.title, loading: "lazy" }))))),
  );
  return { changed() {} };
}
