"""Laws of models over random layers: everything adds up over layers, and GPUs share all of it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import AnalyticCost, Model, load_gpu
from hardware_profiles.architectures.mamba import ssd
from hardware_profiles.layers import Layer, LayerPart, attention, experts, latent_attention, mlp
from hardware_profiles.quantisation.scheme import UNIFORM
from tests.hardware_costs import step

H100 = load_gpu("h100-80gb-sxm")
HIDDEN = 512
SIZES = st.sampled_from([1, 2, 4, 8])

attentions = st.builds(
    attention,
    st.just(HIDDEN),
    st.sampled_from([8, 16]),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([32, 64]),
    window=st.sampled_from([None, 64, 1000]),
    value_dim=st.sampled_from([None, 48]),
    qkv_bias=st.booleans(),
    gated=st.booleans(),
)
latents = st.builds(
    latent_attention,
    st.just(HIDDEN),
    st.sampled_from([8, 16]),
    q_rank=st.sampled_from([None, 96]),
    kv_rank=st.sampled_from([64, 128]),
    nope_dim=st.just(32),
    rope_dim=st.just(16),
    value_dim=st.just(32),
    most_keys=st.sampled_from([None, 256]),
)
recurrent = st.builds(
    ssd,
    st.just(HIDDEN),
    st.sampled_from([8, 16]),
    st.just(32),
    st.just(2),
    st.just(64),
    st.just(4),
    conv_bias=st.booleans(),
    bias=st.booleans(),
    state_bytes=st.sampled_from([2, 4]),
)
mlps = st.builds(mlp, st.just(HIDDEN), st.sampled_from([256, 1024]), gated=st.booleans(), bias=st.booleans())
mixtures = st.builds(
    experts, st.just(HIDDEN), st.just(128), st.sampled_from([4, 16]), st.sampled_from([1, 2, 4]),
    shared=st.sampled_from([None, mlp(HIDDEN, 64, module="mlp.shared_experts")]), bias=st.booleans(),
)  # fmt: skip
parts = st.lists(st.one_of(attentions, latents, recurrent, mlps, mixtures), min_size=1, max_size=3)


def model(layers: list[list[LayerPart]]) -> Model:
    named = [Layer(f"model.layers.{i}", tuple(each), HIDDEN) for i, each in enumerate(layers)]
    return Model("random", "here", "llama", HIDDEN, 1000, 4096, False, tuple(named), HIDDEN)


models = st.lists(parts, min_size=1, max_size=6).map(model)


@given(models, st.integers(0, 6))
def test_everything_adds_up_over_layers(whole: Model, cut: int) -> None:
    first = dataclasses.replace(whole, layers=whole.layers[:cut])
    second = dataclasses.replace(whole, layers=whole.layers[cut:])
    outside = dataclasses.replace(whole, layers=()).parameters
    assert whole.parameters == first.parameters + second.parameters - outside
    for name in ("kv_bytes_per_token", "windowed_kv_bytes_per_token", "state_bytes", "linear_parameters",
                 "active_linear_parameters", "sublayers", "attention_layers"):  # fmt: skip
        assert getattr(whole, name) == getattr(first, name) + getattr(second, name), name


@given(models)
def test_two_bytes_a_parameter_unless_quantised(whole: Model) -> None:
    assert whole.weight_bytes == 2 * whole.parameters
    small = dataclasses.replace(whole, quantization=UNIFORM["fp8"])
    eight = sum(matrix.parameters * n for (matrix, weights), n in small.matrices.items() if weights.bits == 8)
    assert whole.weight_bytes - small.weight_bytes == eight
    assert whole.linear_parameters > eight > 0.9 * whole.linear_parameters or eight == whole.linear_parameters


@given(models, SIZES)
def test_gpus_hold_a_share_of_everything_and_copies_of_what_is_not_divided(whole: Model, gpus: int) -> None:
    assert whole.kv_bytes_per_token_on(gpus) * gpus >= whole.kv_bytes_per_token
    assert whole.weight_bytes_on(gpus) * gpus > whole.weight_bytes - gpus
    assert whole.kv_bytes_per_token_on(8) <= whole.kv_bytes_per_token_on(gpus) <= whole.kv_bytes_per_token
    assert whole.weight_bytes_on(gpus) <= whole.weight_bytes
    divided = all(not cache.latent and cache.heads % gpus == 0 for cache in whole.caches)
    if divided:
        assert whole.kv_bytes_per_token_on(gpus) * gpus == whole.kv_bytes_per_token
        assert whole.weight_bytes_on(gpus) == whole.weight_bytes // gpus
        assert whole.active_parameters_on(gpus) * gpus == whole.active_linear_parameters


@given(models, SIZES, st.integers(1, 64))
def test_more_tokens_read_more_experts_and_never_more_than_there_are(
    whole: Model, gpus: int, tokens: int
) -> None:
    one, some, many = (whole.weight_bytes_read(n, gpus) for n in (1, tokens, 100_000))
    assert one <= some * (1 + 1e-12)
    assert some <= many * (1 + 1e-12)
    if gpus == 1:
        assert one == pytest.approx(2 * whole.active_linear_parameters)
        assert many == pytest.approx(2 * whole.linear_parameters)


@given(models, SIZES, st.lists(st.integers(1, 3000), min_size=1, max_size=5), st.integers(0, 4000))
def test_decodes_lie_on_the_pieces_that_the_cost_model_names(
    whole: Model, gpus: int, contexts: list[int], more: int
) -> None:
    cost = AnalyticCost(H100, whole, gpus)
    seqs, total = len(contexts), sum(contexts)
    low, high, offset, slope = cost.decode_piece(seqs, total)
    assert low <= total < high
    assert cost.step_s(step([], contexts)) == offset + slope * total
    longer = cost.step_s(step([], [*contexts[:-1], contexts[-1] + more]))
    assert longer >= cost.step_s(step([], contexts)) * (1 - 1e-12)


@given(models, st.integers(1, 2000), st.integers(0, 3000))
def test_a_window_makes_no_step_dearer(whole: Model, tokens: int, prior: int) -> None:
    layers = []
    for layer in whole.layers:
        opened = [
            part._replace(caches=tuple(c._replace(window=None, most_keys=None)
                                                   for c in part.caches))
            for part in layer.parts
        ]  # fmt: skip
        layers.append(layer._replace(parts=tuple(opened)))
    latent = H100.latent_kernels.model_copy(update={"sparse_prompts": None})  # all slots are computed: below
    gpu = H100.model_copy(update={"latent_kernels": latent})
    full = AnalyticCost(gpu, dataclasses.replace(whole, layers=tuple(layers)))
    some = AnalyticCost(gpu, whole)
    for shape in (
        step([(tokens, prior)], []),
        step([], [prior + 1]),
        step([(tokens, prior)], [prior + 1] * 3),
    ):
        assert some.step_s(shape) <= full.step_s(shape) * (1 + 1e-9)
    short = step([(50, 13)], [])  # within every window
    assert some.step_s(short) == pytest.approx(full.step_s(short))
