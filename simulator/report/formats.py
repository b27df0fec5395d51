"""What is printed, in the formats of other programs: Markdown, LaTeX (booktabs), CSV, JSON."""

import csv
import io
import json
from typing import Any

from simulator.report.tables import Amount, Document, Facts, Form, PrintedCell, Table, TableColumn
from simulator.report.text import spreadsheet_cell

_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$",
})  # fmt: skip


def render(document: Document, form: Form) -> str:
    """Return a document in a format. CSV has the tables alone, one behind the other with an empty line between."""
    return {"md": _markdown, "latex": _latex, "csv": _csv, "json": _json}[form](document)


def _markdown(document: Document) -> str:
    parts = []
    for part in document.parts:
        if isinstance(part, Table):
            parts.append(_markdown_table(part))
        elif isinstance(part, Facts):
            parts.append("\n".join(_escaped(line) for line in _facts(part)))
        elif part.exact:
            parts.append("\n".join(["```", *part.lines, "```"]))
        else:
            parts.append("  \n".join(_escaped(line.strip()) for line in part.lines))
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(table: Table) -> str:
    def row(cells: list[str]) -> str:
        return f"| {' | '.join(_escaped(cell) for cell in cells)} |"

    rule = "|".join("---" if each.left else "---:" for each in table.columns)
    title = [f"**{_escaped(table.title)}**", ""] if table.title else []
    rows = [row([str(cell).strip() for cell in each]) for each in table.rows]
    return "\n".join([*title, row([_heading(each) for each in table.columns]), f"|{rule}|", *rows])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def _facts(facts: Facts) -> list[str]:
    return [f"- {label}: {text}" if label else f"  {text}" for label, text in facts.pairs]


def _latex(document: Document) -> str:
    parts = []
    for part in document.parts:
        if isinstance(part, Table):
            parts.append(_latex_table(part))
        else:
            lines = _facts(part) if isinstance(part, Facts) else part.lines
            parts.append("\n".join(f"% {line}".rstrip() for line in lines))
    return "\n\n".join(part for part in parts if part) + "\n"


def _latex_table(table: Table) -> str:
    def row(cells: list[str]) -> str:
        return f"{' & '.join(cell.translate(_LATEX) for cell in cells)} \\\\"

    title = [f"% {table.title}"] if table.title else []
    return "\n".join([
        *title,
        rf"\begin{{tabular}}{{{''.join('l' if each.left else 'r' for each in table.columns)}}}",
        r"\toprule",
        row([_heading(each) for each in table.columns]),
        r"\midrule",
        *(row([str(cell).strip() for cell in each]) for each in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ])  # fmt: skip


def _csv(document: Document) -> str:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    for i, table in enumerate(document.tables):
        if i:
            written.write("\n")
        writer.writerow([spreadsheet_cell(_heading(each)) for each in table.columns])
        writer.writerows(
            [
                ["" if (value := _plain(cell)) is None else spreadsheet_cell(value) for cell in row]
                for row in table.rows
            ]
        )
    return written.getvalue()


def _json(document: Document) -> str:
    found: dict[str, Any] = {"facts": {}, "words": [], "tables": []}
    for part in document.parts:
        if isinstance(part, Table):
            names = [_heading(each) for each in part.columns]
            rows = [dict(zip(names, map(_plain, row), strict=True)) for row in part.rows]
            found["tables"].append({"title": part.title, "rows": rows})
        elif isinstance(part, Facts):
            label = ""
            for named, text in part.pairs:
                label = named or label
                found["facts"].setdefault(label, []).append(text)
        else:
            found["words"] += [line.strip() for line in part.lines]
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _plain(cell: PrintedCell) -> Any:
    return cell.value if isinstance(cell, Amount) else cell.strip()


def _heading(column: TableColumn) -> str:
    return f"{column.name} ({column.unit})" if column.unit else column.name
