"""The reference pages say what the code says, and the site is built from all pages."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from simulator import Scenario, run
from tests import reference_pages

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
TRAFFIC = {"trace": "azure2023_conv", "limit": 30}
RUNS = (
    {"workload": TRAFFIC, "speculation": {"method": "eagle"}, "policy": {"acceptance": "curve"}},
    {"workload": TRAFFIC, "cluster": {"prefill": {"replicas": 1}, "decode": {"replicas": 1}}},
    {"workload": {"trace": "mooncake_fast25_synthetic", "limit": 30}},
    {
        "workload": {
            "arrivals": "poisson", "requests": 60, "rate_rps": 20, "lengths": "chat_azure2023",
            "priorities": [0.5, 0.5], "tenants": [0.5, 0.5], "readers": [[0.5, 0.1], [0.5, 0.2]],
            "thinking": [[1.0, 5]], "session_turns": 2, "think_s": 1,
        },
        "cluster": {"scaling": {"max_replicas": 2}},
        "policy": {"scaling": "target_concurrency"},
    },
    {
        "workload": {
            "arrivals": "poisson", "requests": 60, "rate_rps": 20,
            "classes": {name: {"share": 0.5, "lengths": "chat_azure2023"} for name in "ab"},
        },
    },
)  # fmt: skip


@pytest.mark.parametrize("name", reference_pages.PAGES)
def test_a_page_says_what_the_code_says(name):
    assert reference_pages.on_page(name) == reference_pages.PAGES[name](), "python -m tests.reference_pages"


def columns_of(table):
    """Return the columns that the page has for a table, each with its type."""
    section = (
        (DOCS / "tables.md").read_text("utf-8").partition(f"## `{table}.parquet`")[2].partition("\n## ")[0]
    )
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", section, re.M)
    return {name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names)}


def test_every_column_of_every_table_is_on_the_page_with_its_type():
    found = {table: {} for table in ("requests", "tokens", "steps", "work", "transfers", "scaling")}
    for scenario in RUNS:
        result = run(Scenario(**scenario))
        for table, columns in found.items():
            made = getattr(result, table)()
            columns |= {} if made is None else {each.name: str(each.type) for each in made.schema}
    assert all(found.values())
    for table, columns in found.items():
        said = columns_of(table)
        assert set(columns) <= set(said), table
        for name, kind in columns.items():
            assert said[name] in (kind, kind.partition("<")[0], "as in the trace"), (table, name)


def pages_of(entries):
    for each in entries:
        if isinstance(each, str):
            yield each
        else:
            for inner in each.values():
                yield from [inner] if isinstance(inner, str) else pages_of(inner)


def test_every_page_has_one_place_in_the_site():
    nav = list(pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]))
    beside = ["readme.md", "contributing.md", "changelog.md", "paper/results.md"]
    beside += [f"tutorials/{path.stem}.md" for path in (DOCS / "tutorials").glob("*.ipynb")]
    assert sorted(nav) == sorted([*(page.name for page in DOCS.glob("*.md")), *beside])


def test_the_site_is_built_without_a_warning(tmp_path):
    mkdocs = shutil.which("mkdocs", path=Path(sys.executable).parent)
    if mkdocs is None:
        pytest.skip("no mkdocs; it is in the extra dev")
    done = subprocess.run(
        [mkdocs, "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    page = (tmp_path / "site" / "api.html").read_text("utf-8")
    for name in ("simulator.run", "simulator.sweep", "simulator.policy.Scheduler"):
        assert f'id="{name}"' in page, name
