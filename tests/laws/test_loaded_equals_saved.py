"""A result that was saved and read back is the result: every table, the summary, the log, in every kind of run."""

import numpy as np
import pyarrow as pa
import pytest

from simulator import Result
from simulator.results.saved import OPTIONAL
from simulator.results.trace_level import LEVELS, kept_tables
from tests import run_kinds
from tests.run_kinds import KINDS

HAVE = {"transfers": ("disaggregated", "migration"), "scaling": ("autoscaling",)}


def tables(result):
    """Every table that the level of a result has, with what was to be seen of the others."""
    kept = kept_tables(result.trace_level)
    return {name: getattr(result, name)() for name in (*kept, *(OPTIONAL if kept else ()))}


def alike(one, other):
    """Whether two columns are equal, NaN and null being equal to themselves and to nothing else."""
    numbers = pa.types.is_floating(one.type)
    return one.is_null().equals(other.is_null()) and (
        np.array_equal(one.to_numpy(), other.to_numpy(), equal_nan=True) if numbers else one.equals(other)
    )


@pytest.fixture(scope="module", params=[(kind, level) for kind in KINDS for level in LEVELS], ids="-".join)
def made(request, tmp_path_factory):
    """A kind of run, what it left, and that read back."""
    kind, level = request.param
    result = run_kinds.made(kind, level)
    folder = tmp_path_factory.mktemp("saved") / "o"
    result.save(folder)
    return kind, result, Result.load(folder), folder


def test_every_table_is_the_same(made):
    kind, saved, loaded, _ = made
    ours, theirs = tables(saved), tables(loaded)
    assert ours.keys() == theirs.keys()
    for name, table in ours.items():
        if name == "work":
            assert (table is not None) == (saved.trace_level in ("tokens", "steps"))
        elif name in OPTIONAL:
            assert (table is not None) == (kind in HAVE[name]), name
        if table is None:
            assert theirs[name] is None
            continue
        assert theirs[name].schema == table.schema, name
        for column in table.column_names:
            assert alike(theirs[name][column], table[column]), f"{name}.{column}"


def test_the_summary_is_the_same(made):
    _, saved, loaded, _ = made
    assert loaded.summary() == saved.summary()


def test_the_manifest_is_the_same_and_what_is_saved_again_too(made, tmp_path):
    _, saved, loaded, folder = made
    assert saved.manifest.items() <= loaded.manifest.items()
    assert (loaded.partial, loaded.trace_level) == (saved.partial, saved.trace_level)
    loaded.save(tmp_path / "again")
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_the_record_that_metrics_read_is_the_same(made):
    _, saved, loaded, _ = made
    if saved.trace_level == "summary":
        return
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "state", "end_s", "token_offsets"):
        ours, theirs = getattr(saved.log, name), getattr(loaded.log, name)
        assert ours.dtype == theirs.dtype, name
        assert np.array_equal(ours, theirs), name
