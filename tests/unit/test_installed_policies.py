"""Policies that installed packages bring as entry points."""

import sys

import pytest

from simulator import Scenario, run
from simulator.cli import main as cli
from simulator.report.listing import listing
from simulator.scenario import plugins
from simulator.scenario.discover import load
from simulator.scenario.schema import scenario_schema
from simulator.studies.points import Point

ROUTER = """
class ToTheLast:
    \"\"\"To the last replica.

    Always.
    \"\"\"

    def route(self, job, replicas, draw):
        return len(replicas) - 1
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return what installs a package, as pip would, into a folder that Python looks in."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(name, entries, version="1.2", **modules):
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        text = "".join(f"{key} = {value}\n" for key, value in entries.items())
        (info / "entry_points.txt").write_text(f"[servesim.policies]\n{text}")
        for module, code in modules.items():
            (tmp_path / f"{module}.py").write_text(code)
        plugins._plugins.cache_clear()
        return info

    yield put
    plugins._plugins.cache_clear()
    for module in [name for name in sys.modules if name.startswith("lab_")]:
        del sys.modules[module]


def refused(capsys, *arguments):
    assert cli.main([str(each) for each in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def two(name):
    return Scenario(
        policy={"routing": name}, cluster={"replicas": 2}, workload={"trace": "azure2023_conv", "limit": 20}
    )


@pytest.mark.parametrize("target", ["lab_last:ToTheLast", "lab_last"])
def test_one_is_used_by_name(install, target):
    install("lab-policies", {"routing.last": target}, lab_last=ROUTER)
    result = run(two("last"))
    assert set(result.requests()["replica"].to_pylist()) == {1}
    assert result.manifest["policies"]["policy.routing"]["package"] == "lab-policies 1.2"
    assert two("last").to_toml().count('name = "last"') == 1
    assert two("last") == Scenario(**two("last").to_tables())


def test_it_is_listed_with_its_package_and_known_to_editors(install):
    install("lab-policies", {"routing.last": "lab_last:ToTheLast"}, lab_last=ROUTER)
    (line,) = (line for line in str(listing("policies")).splitlines() if " last " in line)
    assert line.split() == ["policy.routing", "last", "lab-policies", "1.2", "To", "the", "last", "replica."]
    names = scenario_schema()["$defs"]["Policy"]["properties"]["routing"]["anyOf"][0]["anyOf"][0]["enum"]
    assert "last" in names


def test_it_is_suggested(install, capsys):
    install("lab-policies", {"routing.to_the_last": "lab_last:ToTheLast"}, lab_last=ROUTER)
    said = refused(capsys, "run", "--set", "policy.routing=to_te_last")
    assert "no policy 'to_te_last'; did you mean 'to_the_last'?" in said


def test_another_version_is_another_simulation(install):
    info = install("lab-policies", {"routing.last": "lab_last:ToTheLast"}, lab_last=ROUTER)
    before = Point({}, 0, two("last"), None).digest
    assert Point({}, 0, two("last"), None).digest == before
    info.rename(info.with_name("moved"))
    info = install("lab-policies", {"routing.last": "lab_last:ToTheLast"}, "1.3", lab_last=ROUTER)
    assert Point({}, 0, two("last"), None).digest != before


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("lab_gone:ToTheLast", "lab_gone:ToTheLast cannot be imported: ModuleNotFoundError: No module named"),
        ("lab_last:Gone", "lab_last:Gone cannot be imported: AttributeError"),
        ("lab_last:number", "lab_last:number is 3; expected a class, or a module with one"),
        ("lab_last:Empty", "Empty has no method route(); expected a routing policy with route()"),
        ("lab_last", "defines 2 classes; expected exactly one, the policy"),
        ("lab_broken", "lab_broken cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_wrong_is_one_sentence(install, capsys, target, said):
    code = ROUTER + "class Empty:\n    pass\n\nnumber = 3\n"
    install("lab-policies", {"routing.last": target}, lab_last=code, lab_broken="1 / 0\n")
    line = refused(capsys, "run", "--set", "policy.routing=last")
    assert line.startswith("servesim: error: --set policy.routing: ")
    assert said in line
    assert cli.main(["list", "policies"]) == 0
    assert said in capsys.readouterr().out.replace("\n", " ")


def test_two_packages_with_one_name_are_named(install, capsys):
    install("lab-policies", {"routing.last": "lab_last:ToTheLast"}, lab_last=ROUTER)
    install("lab-others", {"routing.last": "lab_other:ToTheLast"}, lab_other=ROUTER)
    line = refused(capsys, "run", "--set", "policy.routing=last")
    assert (
        "'last' comes with lab-others 1.2 and lab-policies 1.2; expected one of them to be installed" in line
    )


def test_a_shipped_name_stays_the_shipped_policy(install, capsys):
    install("lab-policies", {"routing.random": "lab_last:ToTheLast"}, lab_last=ROUTER)
    assert load("routing", "random").__module__ == "policies.routing.random"
    assert cli.main(["list", "policies"]) == 0
    assert "not used: 'random' is a shipped policy; expected another name" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["last", "routers.last", "routing.", "routing.la-st"])
def test_a_name_without_its_kind_is_told(install, capsys, name):
    install("lab-policies", {name: "lab_last:ToTheLast"}, lab_last=ROUTER)
    said = f"lab-policies 1.2 has an entry point called {name!r} in servesim.policies; expected KIND.NAME"
    assert said in str(listing("policies"))
    if name.endswith("last"):
        assert said in refused(capsys, "run", "--set", "policy.routing=last")


def test_what_is_installed_is_not_looked_through_for_shipped_names(monkeypatch):
    monkeypatch.setattr(plugins, "entry_points", lambda **_: pytest.fail("looked"))
    plugins._plugins.cache_clear()
    run(two("random"))
