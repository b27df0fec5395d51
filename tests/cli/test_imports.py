"""What commands import: start-up is most of a short run, and each package costs it some milliseconds."""

import subprocess
import sys

import pytest

from simulator.cli import main as cli

PACKAGES = {
    "annotated_doc", "annotated_types", "numpy", "pyarrow", "pydantic", "pydantic_core", "shellingham", "simpy",
    "typer", "typing_extensions", "typing_inspection",
}  # fmt: skip
OURS = {"experiments", "hardware_profiles", "policies", "simulator"}
# Of the standard library and of numpy: what others import who need more than a run does
NOT_NEEDED = {
    "asyncio",
    "concurrent",
    "html",
    "http",
    "logging",
    "multiprocessing",
    "numpy.ma",
    "unittest",
    "xml",
}
SYNTHETIC = ("workload.arrivals=constant", "workload.prompt_tokens=9", "workload.output_tokens=9")
SMALL = ("workload.rate_rps=50", "workload.requests=150")  # from 100 on stability is looked at
RANDOM = ("--set", "workload.arrivals=poisson", "--vary", "hardware.gpu=l40s,h100")


def imported(tmp_path, *settings):
    """Return the modules that a run has imported when it ends."""
    code = (
        "import sys, simulator.cli.main as cli; code = cli.main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    given = [part for each in settings for part in ("--set", each)]
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--no-plot", "--out", str(tmp_path / "o"), *given],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


def below(modules, *names):
    return sorted(each for each in modules if any(f"{each}.".startswith(f"{name}.") for name in names))


@pytest.mark.parametrize(
    "settings", [(*SYNTHETIC, *SMALL), ("workload.trace=azure2023_conv", "workload.limit=150")]
)
def test_a_run_imports_what_it_uses(tmp_path, settings):
    found = imported(tmp_path, *settings)
    tops = {each.split(".")[0] for each in found}
    others = {each for each in tops - sys.stdlib_module_names - PACKAGES - OURS if not each.startswith("_")}
    # What a distribution adds to its Python, and a compiled core to its modules
    assert {each.rpartition("__")[2] for each in others} <= {"cython_runtime", "mypyc", "sitecustomize"}
    assert below(found, *NOT_NEEDED) == []
    assert below(found, "simulator.cli.commands") == ["simulator.cli.commands", "simulator.cli.commands.run"]
    assert (
        below(
            found, "simulator.studies", "simulator.observe", "simulator.ui", "simulator.report.plots",
            "simulator.report.html", "simulator.report.exports", "simulator.workload.mix", "experiments.paper",
        ) == []
    )  # fmt: skip


def test_synthetic_traffic_needs_nothing_that_reads_files_and_a_trace_nothing_that_draws(tmp_path):
    drawn = imported(tmp_path / "drawn", *SYNTHETIC, *SMALL)
    assert below(drawn, "simulator.workload.reader", "simulator.workload.formats") == []
    read = imported(tmp_path / "read", "workload.trace=azure2023_conv", "workload.limit=150")
    assert below(read, "simulator.workload.load", "simulator.workload.lengths") == []


@pytest.mark.parametrize("package", ["simulator", "servesim"])
def test_the_package_itself_imports_no_other(package):
    code = f"import sys, {package}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert below(done.stdout.split(), *PACKAGES) == []


def test_models_are_built_for_what_a_scenario_has():
    code = (
        "from simulator.scenario.scenario import default_scenario; default_scenario();"
        "from simulator.workload import spec, traffic_class, traffic_keys, length_shapes;"
        "from simulator.scenario import cluster, engine, pools;"
        "models = spec.WorkloadSpec, traffic_class.TrafficClass, traffic_keys.TrafficKeys, length_shapes.LengthShape,"
        " pools.PoolSpec, cluster.FaultsSpec, engine.EngineSpec;"
        "print([each.__name__ for each in models if each.__pydantic_complete__])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", "each is a part of Scenario, whose schema has it"


@pytest.mark.parametrize(
    ("package", "words", "code"),
    [
        ("matplotlib", ["run"], 2),
        ("matplotlib", ["run", "--no-plot"], 0),
        ("scipy", ["compare", "--no-plot", "--vary", "seed=0,1"], 0),
        ("scipy", ["compare", "--no-plot", "--seeds", "2", *RANDOM], 2),
    ],
)
def test_a_light_installation_runs_without_pictures_and_intervals(
    package, words, code, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    given = [part for each in (*SYNTHETIC, *SMALL) for part in ("--set", each)]
    assert cli.main([words[0], *given, *words[1:], "--out", str(tmp_path / "o")]) == code
    if code:
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        assert f"{package} is not installed; expected it" in line
