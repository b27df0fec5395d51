"""``servesim plan``: what is wrong with a plan is said in one sentence."""

import pytest

from simulator.cli import main as cli
from tests.slow.test_plan import TARGET

SMALL = f"""{TARGET}
[space]
gpus = ["l40s", "h100-80gb-sxm"]
tensor_parallel = [1]
shapes = ["colocated"]
replicas = [1]
settings = {{}}"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "target: expected a list of bounds"),
        ('target = ["latency.ttft_s.p99"]', "expected a bound such as"),
        (
            'target = ["latency.ttft_s.p99 <= soon"]',
            "expected a number behind <=, got 'soon'",
        ),
        ('target = ["latency.ttft.p99 <= 1"]', "did you mean 'latency.ttft_s.p99'"),
        ('target = ["slo.attainment_all >= 0.9"]', "needs bounds under [slo]"),
        (f"{TARGET}\nspaces = 1", "spaces: unknown key"),
        (f"{TARGET}\nspace = 1", "space: expected a table"),
        (f"{TARGET}\nset = 1", "set: expected a table"),
        (f"{TARGET}\nbase = 1", "base: expected the path"),
        (f"{TARGET}\nreplications = 0", "replications: expected a whole number"),
        (f'{TARGET}\n[space]\ngpus = ["h1"]', "did you mean 'h100-80gb-sxm'"),
        (f"{TARGET}\n[space]\ngpu = 1", "space.gpu: unknown key"),
        (f"{TARGET}\n[space]\ngpus = []", "space.gpus: expected a list of names"),
        (f"{TARGET}\n[space]\nreplicas = [0]", "space.replicas: expected whole numbers"),
        (f"{TARGET}\n[space]\ntensor_parallel = [3]", "space.tensor_parallel: expected sizes"),
        (f'{TARGET}\n[space]\nshapes = ["2-1"]', 'expected "colocated" or prefill to decode'),
        (f'{TARGET}\n[space]\nshapes = ["1:2"]\nreplicas = [2]', "no shape has any of the numbers"),
        (f'{TARGET}\n[space]\npolicies = ["vllm_v1", "vllm"]', "no policy 'vllm'"),
        (f'{TARGET}\n[space.settings]\n"engine.foo" = [1]', "engine.foo: unknown key"),
        (
            f"{TARGET}\n[space]\nreplicas = {{from = 1, to = 9999, steps = 9999}}",
            "more than 100,000 candidates",
        ),
        (f'{TARGET}\n[set]\n"workload.trace" = "nope.csv"', "no file 'nope.csv'"),
        (f"mixes = 1\n{SMALL}", "mixes: expected a table"),
        (f"{SMALL}\n[mixes]\nkinds = 2", "mixes.kinds: unknown key"),
        (f'{SMALL}\n[mixes]\ngpus = ["l40s"]', "mixes.gpus: expected at least two unlike GPUs"),
        (f'{SMALL}\n[mixes]\ngpus = ["l40s", "h1"]', "mixes.gpus: unknown gpu 'h1'"),
        (f'{SMALL}\n[mixes]\nrouters = ["cheap"]', "no policy 'cheap'"),
        (f"budget = 1\n{SMALL}", "budget: expected a table"),
        (f"{SMALL}\n[budget]\nusd = 1", "budget.usd: unknown key"),
        (f"{SMALL}\n[budget]\nusd_per_hour = 0", "budget.usd_per_hour: expected a number > 0"),
        (f"{SMALL}\n[budget]\nusd_per_hour = 0.1", "no candidate of the space is within it"),
        (f"{SMALL}\n[budget]\ngpus = {{l40s = 0}}", "budget.gpus: expected how many there are"),
        (f"{SMALL}\n[budget]\ngpus = {{l4 = 2}}", "'l4' is in no candidate"),
        ("target = [", "not a readable TOML file"),
        (f"allow_unvalidated = 1\n{SMALL}", "allow_unvalidated: expected true or false, got 1"),
        (f"{TARGET}\n[space]\nsettings = 3", "space.settings: expected a table of scenario keys, got 3"),
        (f"{SMALL}\n[mixes]\nrouters = []", "mixes.routers: expected a list of routing policies, got []"),
        (
            f'{SMALL}\n[set]\n"policy.scaling" = "queue_length"\n"cluster.scaling.max_replicas" = 3',
            "policy.scaling: 'queue_length' in a plan, which chooses a fixed number of replicas",
        ),
        (
            f'{TARGET}\n[set]\n"hardware.quantization" = "int4"',
            "space.gpus: no server with a dense int4 model was measured on any GPU; expected names of GPUs",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path, capsys, text, says):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    assert cli.main(["plan", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1


def test_a_plan_that_is_missing(capsys):
    assert cli.main(["plan", "nowhere.toml"]) == 2
    assert "nowhere.toml: not found" in capsys.readouterr().err
