"""How the site differs from the folder: the README and its neighbours become pages, and links to them lead there."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
BESIDE = {name: name.lower() for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")}  # not below docs


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand beside the folder."""
    for name, place in BESIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, place, content=_inside(text, "")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to those pages to their places."""
    return _inside(markdown, r"\.\./")


def _inside(text: str, above: str) -> str:
    for name, place in BESIDE.items():
        text = re.sub(rf"\]\({above}{re.escape(name)}", f"]({place}", text)
    return text
