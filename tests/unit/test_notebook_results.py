"""A result in a notebook: what it says of itself, its tables as frames, its figure."""

import builtins
import re
import sys
from html.parser import HTMLParser

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import InputError, Scenario, load, run
from simulator.report.plots import overview, overview_figure
from simulator.results.frames import as_html

TRAFFIC = {"trace": "azure2023_conv", "limit": 40}
NASTY = "<script>alert('a&b')</script>"


@pytest.fixture(scope="module")
def result():
    return run(Scenario(name=NASTY, workload=TRAFFIC))


def test_it_says_what_it_is(result):
    assert repr(result) == (
        f"<Result {NASTY!r}: 40 requests, 1 x h100-80gb-sxm (vllm_v1), llama-3.1-8b,"
        f" {result.manifest['end_of_run_s']:,.6g} s>"
    )


def test_it_shows_a_table_without_the_tags_of_its_name(result):
    shown = result._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;alert(&#x27;a&amp;b&#x27;)" in shown
    assert "smooth goodput" in shown
    assert "user model: reader_20tps" in shown
    assert len(shown) < 4000


@given(st.text(), st.lists(st.tuples(st.text(), st.text()), min_size=1), st.lists(st.text()))
def test_no_text_becomes_a_tag(title, rows, notes):
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, _: found.append(tag)
    parser.handle_data = lambda data: texts.append(data)
    texts = []
    parser.feed(as_html(title, rows, notes))
    parser.close()
    assert set(found) <= {"div", "strong", "table", "tr", "th", "td"}
    for text in (title, *notes, *(cell for row in rows[1:] for cell in row)):
        kept = re.sub(r"[\r\x00]", "", text).strip()
        assert not kept or kept in re.sub(r"[\r\x00]", "", "".join(texts))


@pytest.mark.parametrize("table", ["requests", "tokens", "steps", "work"])
def test_tables_are_frames(result, table):
    rows = getattr(result, table)()
    frame = result.to_pandas(table)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame) == rows.column_names
    assert len(frame) == rows.num_rows
    assert result.to_polars(table).columns == rows.column_names
    assert result.to_polars(table).height == rows.num_rows


def test_other_tools_get_the_requests(result):
    assert pa.table(result) == result.requests()
    assert pl.DataFrame(result).height == 40
    assert result.__dataframe__().num_rows() == 40


def test_tables_that_are_not_there_are_said(result):
    with pytest.raises(InputError, match="table: this run has no transfers"):
        result.to_pandas("transfers")
    with pytest.raises(InputError, match=r"table: expected one of requests, tokens, .* got 'summary'"):
        result.to_polars("summary")
    short = run(Scenario(workload=TRAFFIC, run={"trace_level": "requests"}))
    with pytest.raises(InputError, match="no tokens in this result"):
        short.to_pandas("tokens")


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_without_the_package_its_extra_is_named(result, monkeypatch, name):
    there = builtins.__import__

    def without(module, *rest, **more):
        if module.split(".")[0] == name:
            raise ImportError(module)
        return there(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        InputError, match=rf"{name} is not installed; expected: pip install 'servesim\[{name}\]'"
    ):
        getattr(result, f"to_{name}")()


def test_a_saved_run_shows_the_same(result, tmp_path):
    result.save(tmp_path / "a")
    again = load(tmp_path / "a")
    assert repr(again) == repr(result)
    assert again._repr_html_() == result._repr_html_()
    assert again.to_pandas().equals(result.to_pandas())


def test_the_picture_is_a_figure_and_no_window(result, tmp_path):
    from matplotlib.figure import Figure

    sys.modules.pop("matplotlib.pyplot", None)
    figure = overview_figure(result)
    assert isinstance(figure, Figure)
    assert "matplotlib.pyplot" not in sys.modules
    figure.savefig(tmp_path / "a.png")
    overview(result, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
