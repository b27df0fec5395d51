"""The page as one file: the document, the charts' library, the scripts and styles, all inside."""

import html
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from simulator.report.html.packed import deflated
from simulator.results.folders import whole

SCRIPTS = (
    "page_metrics.js", "page_text.js", "page_charts.js", "page_tables.js", "page_delivery.js", "page_time.js",
    "page_differences.js", "page_answer.js", "page_controls.js", "page_curves.js", "page_numbers.js", "page_runs.js",
    "page_rates.js", "page_studies.js", "page_claims.js", "page.js",
)  # fmt: skip
_LICENCES = ("LICENSE-zrender", "LICENSE-d3", "LICENSE-tslib")  # of what ECharts is made with
_HERE = files("simulator.report.html")
_IMPORT = re.compile(r"^import .*?;\n", re.MULTILINE | re.DOTALL)

# Nothing is loaded from anywhere, whatever a name in the document says.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


def write_page(document: Mapping[str, Any], path: Path) -> None:
    """Write a document as an HTML file that needs nothing else; OSError where the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(page(document), encoding="utf-8")


def page(document: Mapping[str, Any]) -> str:
    """Return the HTML of a document."""
    title = html.escape(f"{document['title']} · servesim")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{styles()}</style>
</head>
<body>
<main id="report"><noscript>This report is drawn by its own scripts: allow them.</noscript></main>
<script type="application/json" id="document">{in_script(document)}</script>
{charts()}<script type="module">
{scripts()}
start(JSON.parse(document.getElementById("document").textContent));
</script>
</body>
</html>
"""


def in_script(document: Mapping[str, Any]) -> str:
    """Return a document as JSON that ends no script element, whatever is in it."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def charts() -> str:
    """Return the charts' library as an element of the page, after the notices that go with it."""
    return f"""<!--
The charts on this page are drawn by software that is in it:

{_notices()}-->
<script type="text/plain" id="library">{library()}</script>
"""


@lru_cache(maxsize=1)
def library() -> str:
    """Return the charts' library, deflated; the page takes it apart before it draws."""
    return deflated(_text("vendor/echarts.js").encode("utf-8"))


def scripts() -> str:
    """Return the page's modules as one: without their imports and exports, which a single file has no names for."""
    joined = "\n".join(_IMPORT.sub("", _text(name)) for name in SCRIPTS)
    return re.sub(r"^export ", "", joined, flags=re.MULTILINE)


def _notices() -> str:
    """Return the notices that copies of the charts' library have to carry; ECharts itself is under Apache-2.0."""
    told = [_text(f"vendor/{name}").strip() for name in ("NOTICE", *_LICENCES)]
    told.insert(
        1, "Licensed under the Apache License, Version 2.0: http://www.apache.org/licenses/LICENSE-2.0"
    )
    return "".join(f"{each.replace('--', '- -')}\n\n" for each in told)


def styles() -> str:
    """Return the page's styles."""
    return _text("page.css")


def _text(name: str) -> str:
    return _HERE.joinpath(name).read_text(encoding="utf-8")
