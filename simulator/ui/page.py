"""The app's one page: form, tabs, and the report's own scripts, styles and charts."""

from functools import lru_cache
from importlib.resources import files

from simulator.report.html.page import charts, in_script, scripts, styles
from simulator.ui.form import ARRIVALS, START, fields

_HERE = files("simulator.ui")


@lru_cache(maxsize=1)
def app_page() -> str:
    """Return the HTML; it asks only the app for more.

    The app's script stands in a block, so that its names are not those of the report's.
    """
    form = in_script({"fields": fields(), "start": START, "arrivals": ARRIVALS})
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>servesim</title>
<style>
{styles()}{_HERE.joinpath("app.css").read_text(encoding="utf-8")}</style>
</head>
<body class="app">
<div id="app"><noscript>The app is drawn by its own scripts: allow them.</noscript></div>
<script type="application/json" id="form">{form}</script>
{charts()}<script type="module">
{scripts()}
{{
{_HERE.joinpath("app.js").read_text(encoding="utf-8")}}}
</script>
</body>
</html>
"""
