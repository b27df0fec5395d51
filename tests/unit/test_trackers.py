"""MLflow and Weights & Biases get the scenario, all numbers of the summary and the files; their absence is said."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from simulator import InputError, Result, Scenario, run
from simulator.report.exports import export
from simulator.results.vocabulary import numbers
from tests.refusals import refusal

CHAT = {"arrivals": "poisson", "rate_rps": 40.0, "requests": 20, "lengths": "chat_azure2023"}


@pytest.fixture(scope="module")
def result():
    return run(Scenario(name="mine", workload=CHAT))


def expected(result):
    return {name: value for name, value in numbers(result.summary()) if value is not None}


class Client:
    """An MLflow store in memory that has the limits of a real one."""

    stores: dict = {}  # noqa: RUF012 (of one test, which clears it)

    def __init__(self, tracking_uri):
        self.store = self.stores.setdefault(tracking_uri, {})

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id=name) if name in self.store else None

    def create_experiment(self, name, artifact_location=None):
        self.store[name] = []
        self.store["where"] = artifact_location
        return name

    def create_run(self, experiment_id, run_name, tags):
        made = SimpleNamespace(name=run_name, tags=tags, metrics={}, params={}, files={}, ended=False)
        self.store[experiment_id].append(made)
        self.made = made
        return SimpleNamespace(info=SimpleNamespace(run_id="r1", start_time=7))

    def log_batch(self, run_id, metrics=(), params=()):
        assert len(metrics) <= 1000
        assert len(params) <= 100
        self.made.metrics |= {each.key: each.value for each in metrics}
        self.made.params |= {each.key: each.value for each in params}

    def log_artifacts(self, run_id, folder):
        self.made.files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}

    def set_terminated(self, run_id):
        self.made.ended = True


@pytest.fixture
def mlflow(monkeypatch):
    Client.stores.clear()
    package, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    exceptions, tracking = ModuleType("mlflow.exceptions"), ModuleType("mlflow.tracking")
    entities.Metric = lambda key, value, timestamp, step: SimpleNamespace(key=key, value=value)
    entities.Param = lambda key, value: SimpleNamespace(key=key, value=value)
    exceptions.MlflowException = type("MlflowException", (Exception,), {})
    tracking.MlflowClient = Client
    package.entities, package.exceptions = entities, exceptions
    for each in (package, entities, exceptions, tracking):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    return exceptions


def test_mlflow_gets_parameters_numbers_and_files(mlflow, result, tmp_path):
    export(result, "mlflow", tmp_path / "store")
    export(result, "mlflow", tmp_path / "store", {"run_name": "again", "artifacts": False})
    ((uri, store),) = Client.stores.items()
    assert uri == (tmp_path / "store").as_uri()
    first, second = store["servesim"]
    assert (first.name, second.name, first.ended) == ("mine", "again", True)
    assert first.metrics == expected(result)
    assert first.params["hardware.gpu"] == "h100-80gb-sxm"
    assert first.params["workload.rate_rps"] == "40.0"
    assert {"manifest.json", "summary.json", "requests.parquet", "tokens.parquet"} <= first.files.keys()
    assert second.files == {}


def test_a_database_keeps_its_artifacts_beside_it_and_a_server_leaves_a_note(mlflow, result, tmp_path):
    export(result, "mlflow", tmp_path / "a.db")
    assert Client.stores[f"sqlite:///{tmp_path / 'a.db'}"]["where"] == (tmp_path / "a-artifacts").as_uri()
    export(result, "mlflow", tmp_path / "note.txt", {"tracking_uri": "http://127.0.0.1:5000"})
    assert (tmp_path / "note.txt").read_text() == "http://127.0.0.1:5000 r1\n"
    assert Client.stores["http://127.0.0.1:5000"]["servesim"][0].metrics == expected(result)


def test_what_a_store_refuses_is_one_sentence(mlflow, result, tmp_path, monkeypatch):
    def refuses(self, name):
        raise mlflow.MlflowException("no such host\nand a page of details")

    monkeypatch.setattr(Client, "get_experiment_by_name", refuses)
    with pytest.raises(InputError, match=r"^mlflow: no such host$"):
        export(result, "mlflow", tmp_path / "store")
    with pytest.raises(InputError, match="experiment: expected a name, got 3"):
        export(result, "mlflow", tmp_path / "store", {"experiment": 3})


def test_a_real_mlflow_store_gives_the_numbers_back(result, tmp_path):
    tracking = pytest.importorskip("mlflow.tracking")
    export(result, "mlflow", tmp_path / "store")
    client = tracking.MlflowClient((tmp_path / "store").as_uri())
    number = client.get_experiment_by_name("servesim").experiment_id
    (found,) = client.search_runs([number])
    assert found.data.metrics == expected(result)
    assert found.info.status == "FINISHED"


@pytest.fixture
def wandb(monkeypatch):
    module = ModuleType("wandb")
    module.errors = SimpleNamespace(Error=type("Error", (Exception,), {}))
    module.Settings = SimpleNamespace
    module.runs = []

    class Artifact:
        def __init__(self, name, **kind):
            self.name, self.kind = name, kind

        def add_dir(self, folder, policy, skip_cache):
            assert policy == "immutable"  # else its files would be copied to the user's folder
            self.folder = Path(folder)

    def init(**given):
        made = SimpleNamespace(**given, id="abc", summary={}, artifacts=[], ended=False)
        made.log_artifact = made.artifacts.append
        made.finish = lambda: vars(made).update(ended=True)
        module.runs.append(made)
        return made

    module.Artifact, module.init = Artifact, init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_gets_config_summary_and_files(wandb, result, tmp_path):
    export(result, "wandb", tmp_path / "w")
    (made,) = wandb.runs
    assert (made.project, made.name, made.mode, made.dir) == (
        "servesim",
        "mine",
        "offline",
        str(tmp_path / "w"),
    )
    assert made.summary == expected(result)
    assert made.config["workload.requests"] == 20
    assert made.ended
    (artifact,) = made.artifacts
    assert Result.load(artifact.folder).summary() == result.summary()
    with pytest.raises(InputError, match="mode: expected one of offline, online, got 'on'"):
        export(result, "wandb", tmp_path / "w", {"mode": "on"})


def test_what_wandb_refuses_is_one_sentence(wandb, result, tmp_path, monkeypatch):
    def refuses(**given):
        raise wandb.errors.Error("no login\nmore")

    monkeypatch.setattr(wandb, "init", refuses)
    with pytest.raises(InputError, match=r"^wandb: no login$"):
        export(result, "wandb", tmp_path / "w")


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_without_the_package_the_extra_is_named(name, result, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"not installed; expected: pip install 'servesim\[{name}\]'"):
        export(result, name, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    result.save(tmp_path / "r")
    said = refusal(capsys, "export", str(tmp_path / "r"), "--to", name, "--out", str(tmp_path / "x"))
    assert said.endswith(f"expected: pip install 'servesim[{name}]'")
