"""How the site differs from the folder: the README and its neighbours become pages, and links to them lead there."""

import json
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
    for path in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")):
        files.append(File.generated(config, f"tutorials/{path.stem}.md", content=_page(path)))
    return files


def _page(notebook: Path) -> str:
    """Return a notebook as Markdown: its texts, its code, and what that printed and drew."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text")})
            if "image/png" in data:
                parts.append(f"![What the code above draws](data:image/png;base64,{data['image/png']})")
            else:
                parts.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    return "\n\n".join([*parts, f"[This page as a notebook]({notebook.name})"])


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to those pages to their places."""
    return _inside(markdown, r"\.\./")


def _inside(text: str, above: str) -> str:
    for name, place in BESIDE.items():
        text = re.sub(rf"\]\({above}{re.escape(name)}", f"]({place}", text)
    return text
