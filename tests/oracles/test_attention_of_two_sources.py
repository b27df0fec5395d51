"""Decode attention without grouped queries on H100: the shipped table beside another benchmark of that kernel shape.

inference-sim, branch stepml-experiments, ``bench_data/mha/decode/h100/32-32-128-tp1.csv`` (Apache-2.0): microseconds of
one layer by sequences and context.
"""

import numpy as np

from hardware_profiles import find_table, load_gpu, load_model

OTHER_US = {
    (16, 256): 32.4, (16, 512): 50.6, (16, 1024): 93.1, (32, 256): 54.5, (32, 512): 101.0, (32, 1024): 192.5,
    (64, 256): 99.8, (64, 512): 193.0, (64, 1024): 376.2, (128, 256): 209.4, (128, 512): 413.5, (128, 1024): 821.3,
}  # fmt: skip


def test_llama_2_7b_reads_its_cache_as_fast_as_elsewhere():
    model = load_model("llama-2-7b")
    table = find_table(load_gpu("h100-80gb-sxm"), model, 1)
    assert table is not None
    shipped = {(seqs, context): ms for seqs, context, ms in table.decode.tolist()}
    errors = [1e3 * shipped[key] / model.num_hidden_layers / us - 1 for key, us in OTHER_US.items()]
    assert np.median(np.abs(errors)) < 0.12
    assert max(errors) < 0.25
