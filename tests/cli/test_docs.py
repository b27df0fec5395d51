"""The documents' code runs, and what they name exists."""

import re

import pytest
import typer.main

from simulator.cli.app import build
from tests import policy_tables
from tests.documents import ROOT, commands, policy_files

TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").glob("*.md"))]


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


def test_every_page_is_in_the_index_once():
    linked = re.findall(
        r"^\* \[[^]]+\]\(([^)/]+\.md)\)", (ROOT / "docs" / "index.md").read_text("utf-8"), re.M
    )
    assert sorted(linked) == sorted(
        page.name for page in (ROOT / "docs").glob("*.md") if page.stem != "index"
    )


def test_readme_begins_with_the_two_commands():
    lines = [line.strip() for line in (ROOT / "README.md").read_text("utf-8").splitlines() if line.strip()]
    assert lines[1].startswith("make demo")
    assert lines[2].startswith("make check test")


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 80


# performance.md names the files of the code that was measured, which may be older.
NAMING = [page for page in PAGES if page.stem != "performance"]
FOLDERS = "simulator|policies|hardware_profiles|experiments|benchmarks|tests|docs"


def named_paths(page):
    """Every path from the repository's root that a page names; NAME, KIND, GPU and MODEL stand for any."""
    for path in re.findall(rf"`((?:{FOLDERS})/[^`\s]*)`", page.read_text("utf-8")):
        yield re.sub(r"NAME|KIND|GPU|MODEL|(?<=\.tp)N", "*", path)


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.stem)
def test_paths_named_exist(page):
    for path in named_paths(page):
        assert any(ROOT.glob(path)), path


@pytest.mark.parametrize("page", ["README.md", "docs/design.md", "docs/life_of_a_request.md"])
def test_files_of_the_code_are_named_by_their_paths(page):
    assert not re.findall(r"`\w+\.py`", (ROOT / page).read_text("utf-8"))


LIFE = re.findall(
    r"^\d+\. .*?(?=^\d+\. |^$)", (ROOT / "docs" / "life_of_a_request.md").read_text("utf-8"), re.M | re.S
)


def test_a_life_has_ten_lines():
    assert len(LIFE) == 10


@pytest.mark.parametrize("line", LIFE, ids=lambda line: line.split("*")[2])
def test_what_a_line_names_is_in_its_files(line):
    code = "".join((ROOT / path).read_text("utf-8") for path in re.findall(r"`([^`]+\.py)`", line))
    for name in re.findall(r"`([\w.]+)`", line):
        for part in name.split("."):
            assert re.search(rf"\b{part}\b", code), name


def test_the_map_has_every_room():
    rooms = {path.rstrip("/") for path in named_paths(ROOT / "README.md")}
    here = [path for folder in ("simulator", "experiments", "tests") for path in (ROOT / folder).iterdir()]
    packages = {path.relative_to(ROOT).as_posix() for path in here if (path / "__init__.py").exists()}
    assert packages | {"policies", "hardware_profiles", "benchmarks"} <= rooms


def command_lines():
    for page in PAGES:
        for words in commands(page):
            yield pytest.param(words, id=f"{page.stem}: {' '.join(words)}")


def mentions():
    """Every mention of a command within a sentence."""
    for page in PAGES:
        for words in sorted(set(re.findall(r"`servesim ([^`]+)`", page.read_text("utf-8")))):
            yield pytest.param(words.split(), id=f"{page.stem}: {' '.join(words.split())}")


def find_command(words):
    """Return the command that some words call, its name, and the words that are left for it."""
    command, name, rest = typer.main.get_command(build()), "servesim", list(words)
    while rest and not rest[0].startswith("-") and hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, name
        command = command.commands[name]
    return command, name, rest


@pytest.mark.parametrize("words", list(command_lines()))
def test_command_lines_are_understood(words):
    command, name, rest = find_command(words)
    command.make_context(name, rest)  # reads the arguments, and runs nothing


@pytest.mark.parametrize("words", list(mentions()))
def test_commands_mentioned_exist(words):
    command, _, rest = find_command(words)
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known | {"--help"}


PAGE = policy_tables.PAGE.read_text("utf-8")
FILES = policy_files()


def test_the_table_of_the_seams_is_what_they_say():
    assert policy_tables.on_page(PAGE) == policy_tables.table(), "expected: python -m tests.policy_tables"


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
