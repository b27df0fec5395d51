"""The documents' code runs, and what they name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    for page in PAGES:
        for i, match in enumerate(re.finditer(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.S)):
            yield pytest.param(match.group(1), id=f"{page.stem}-{i}")


@pytest.mark.parametrize("code", list(blocks("python")))
def test_python_blocks_run(code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "documentation", "exec"), {"__name__": "documentation"})
    if "print(" in code:
        assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_readme_begins_with_the_two_commands():
    lines = [line.strip() for line in (ROOT / "README.md").read_text("utf-8").splitlines() if line.strip()]
    assert lines[1].startswith("make demo")
    assert lines[2].startswith("make test")


@pytest.mark.parametrize("name", re.findall(r"`(\w+\.py)`", (ROOT / "README.md").read_text("utf-8")))
def test_files_named_in_the_map_exist(name):
    assert any(path for folder in ("simulator", "tests") for path in (ROOT / folder).rglob(name))
