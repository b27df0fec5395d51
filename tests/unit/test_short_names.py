"""GPUs, engines, links and models go by the beginning of their names, and models by their ids on the hub."""

import pytest

from hardware_profiles import list_gpus, list_models, load_engine, load_gpu, load_model
from hardware_profiles.files import full_name
from simulator import InputError, Scenario, run


def test_a_beginning_that_is_alone_is_the_name():
    assert load_gpu("h100").name == load_gpu("H100").name == "h100-80gb-sxm"
    assert load_gpu("a100-80gb").name == "a100-80gb-sxm"
    assert load_model("mixtral").name == "mixtral-8x7b"
    assert load_engine("trtllm").name == "trtllm-1.0"


def test_a_beginning_of_several_names_them():
    with pytest.raises(
        InputError, match=r"gpu 'a100' could be any of a100-40gb, a100-80gb-sxm; expected one"
    ):
        load_gpu("a100")
    with pytest.raises(InputError, match="model 'llama' could be any of llama-2-70b, llama-2-7b, llama-3"):
        load_model("llama")


@pytest.mark.parametrize("name", [*list_gpus(), *list_models()])
def test_every_full_name_is_itself(name):
    known = list_gpus() if name in list_gpus() else list_models()
    assert full_name("GPU", name, known) == full_name("GPU", name.upper(), known) == name


def test_part_of_a_word_is_no_name():
    with pytest.raises(InputError, match=r"unknown gpu 'h1'.*did you mean 'h100-80gb-sxm'"):
        load_gpu("h1")
    assert full_name("GPU", "", list_gpus()) is None


@pytest.mark.parametrize(
    ("hub_id", "name"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
        ("qwen/qwen2.5-14b-instruct", "qwen-2.5-14b"),
        ("Qwen/Qwen3-8B", "qwen3-8b"),
    ],
)
def test_a_model_goes_by_its_id_on_the_hub(hub_id, name):
    assert load_model(hub_id).name == name


def test_another_id_on_the_hub_is_refused():
    with pytest.raises(InputError, match="unknown model 'meta-llama/Llama-9-8B'"):
        load_model("meta-llama/Llama-9-8B")


def test_a_scenario_with_short_names_is_the_same_run():
    def summary(gpu, model):
        workload = {"trace": "azure2023_conv", "limit": 50}
        return run(Scenario(hardware={"gpu": gpu, "model": model}, workload=workload)).summary()

    assert summary("h100", "meta-llama/Llama-3.1-8B") == summary("h100-80gb-sxm", "llama-3.1-8b")
