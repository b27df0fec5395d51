"""Files beside a script that have the names of our packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def python(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )


def put(folder, name):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise RuntimeError('imported')\n")


def in_one_sentence(done, path, package):
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"servesim: error: {path}: is in the way of the package {package!r}")


@pytest.mark.parametrize(
    ("file", "package"),
    [
        ("policies.py", "policies"),
        ("policies/__init__.py", "policies"),
        ("simulator.py", "simulator"),
        ("simulator/__init__.py", "simulator"),
        ("hardware_profiles.py", "hardware_profiles"),
    ],
)
def test_what_is_in_the_way_is_named(tmp_path, file, package):
    put(tmp_path, file)
    (tmp_path / "script.py").write_text("import servesim\n")
    path = tmp_path / file.removesuffix("/__init__.py")
    in_one_sentence(python(tmp_path, "script.py"), path, package)
    in_one_sentence(python(tmp_path, "-m", "servesim", "list", "links"), path, package)


def test_it_is_named_to_a_script_that_imports_the_simulator(tmp_path):
    put(tmp_path, "policies.py")
    (tmp_path / "script.py").write_text("from simulator import Scenario, run\n")
    in_one_sentence(python(tmp_path, "script.py"), tmp_path / "policies.py", "policies")


def test_a_module_that_was_imported_before_is_named(tmp_path):
    (tmp_path / "policies.py").write_text("mine = 1\n")
    (tmp_path / "script.py").write_text("import policies\nimport servesim\n")
    in_one_sentence(python(tmp_path, "script.py"), tmp_path / "policies.py", "policies")


def test_a_script_of_that_name_is_named(tmp_path):
    (tmp_path / "simulator.py").write_text("import servesim\n")
    in_one_sentence(python(tmp_path, "simulator.py"), tmp_path / "simulator.py", "simulator")


def test_experiments_of_the_users_own_are_only_in_the_way_of_the_command(tmp_path):
    put(tmp_path, "experiments.py")
    (tmp_path / "script.py").write_text("import servesim\nprint(servesim.Scenario().name)\n")
    assert python(tmp_path, "script.py").stdout == "run\n"
    done = python(tmp_path, "-m", "servesim", "list", "links")
    in_one_sentence(done, tmp_path / "experiments.py", "experiments")


def test_a_script_may_catch_it_and_other_errors_are_shown_as_ever(tmp_path):
    put(tmp_path, "policies.py")
    (tmp_path / "script.py").write_text(
        "try:\n    import servesim\nexcept ImportError:\n    print('none')\nraise KeyError('mine')\n"
    )
    done = python(tmp_path, "script.py")
    assert done.stdout == "none\n"
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "KeyError: 'mine'" in done.stderr


def test_other_folders_are_not_in_the_way(tmp_path):
    (tmp_path / "results").mkdir()
    put(tmp_path, "policy.py")
    (tmp_path / "script.py").write_text("import servesim\nprint('run' in dir(servesim))\n")
    assert python(tmp_path, "script.py").stdout == "True\n"
