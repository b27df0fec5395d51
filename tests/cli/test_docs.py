"""The documents' code runs, and what they name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
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
    assert any(
        path for folder in ("simulator", "tests", "experiments") for path in (ROOT / folder).rglob(name)
    )


PAGE = (ROOT / "docs" / "write_a_policy.md").read_text("utf-8")
FILES = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", PAGE, re.S))


def test_every_policy_of_the_page_is_a_file_with_a_name():
    assert len(FILES) == PAGE.count("```python") == 4


def test_the_policies_of_the_page_serve_traffic(tmp_path, monkeypatch):
    from simulator import Scenario, run

    monkeypatch.chdir(tmp_path)
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    scenario = Scenario(
        cluster={"replicas": 2, "scaling": {"max_replicas": 3, "provision_s": 5.0, "load_s": 1.0}},
        engine={"num_gpu_blocks": 300},
        policy={
            "scheduling": {"name": "shortest_prompt.py", "ageing": 50.0},
            "routing": "fewest_requests.py",
            "admission": "room_for_urgent.py",
            "scaling": "one_to_spare.py",
        },
        workload={
            "trace": "azure2023_conv",
            "limit": 200,
            "max_prompt_tokens": 2000,
            "priorities": [0.5, 0.5],
        },
    )
    requests = run(scenario).requests().to_pydict()
    states, priorities = requests["state"], requests["priority"]
    assert set(states) <= {"completed", "rejected"}
    refused = [priority for state, priority in zip(states, priorities, strict=True) if state == "rejected"]
    assert set(refused) == {1}
    assert states.count("completed") > 100
    assert set(requests["replica"]) >= {0, 1, 2}
