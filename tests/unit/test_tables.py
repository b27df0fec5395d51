"""One renderer: the same table at every width, and in the formats of other programs."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.report.tables import Amount, Document, Facts, Table, TableColumn, Words, amount, count, share

TABLE = Table(
    [
        TableColumn("policy", left=True),
        TableColumn("smooth goodput", "tokens/s"),
        TableColumn("TTFT p99", "ms", rank=1),
        TableColumn("preemptions", "times", rank=2),
        TableColumn("what it is", left=True, wraps=True),
    ],
    [
        ["vllm_v1", amount(1142.04), amount(89.123), count(0), "first come, first served, in chunks"],
        ["smooth", amount(1307.6), amount(None), count(12), "tokens before they are due"],
    ],
    title="Two policies",
)
WHOLE = """\
Two policies
policy   smooth goodput  TTFT p99  preemptions  what it is
               tokens/s        ms        times
vllm_v1           1,142     89.12            0  first come, first served, in chunks
smooth            1,308         -           12  tokens before they are due
"""
AT_60 = """\
Two policies
           smooth   TTFT
policy    goodput    p99  preemptions  what it is
         tokens/s     ms        times
vllm_v1     1,142  89.12            0  first come, first
                                       served, in chunks
smooth      1,308      -           12  tokens before they
                                       are due
"""
AT_44 = """\
Two policies
           smooth   TTFT
policy    goodput    p99  what it is
         tokens/s     ms
vllm_v1     1,142  89.12  first come, first
                          served, in chunks
smooth      1,308      -  tokens before they
                          are due
left out at 44 columns: preemptions
"""
AT_20 = """\
Two policies
policy vllm_v1
  smooth goodput
  (tokens/s)
              1,142
  TTFT p99 (ms)
"""


def test_a_table_is_as_wide_as_it_is_where_there_is_room():
    document = Document([TABLE])
    assert str(document) == document.render(width=None) == document.render(width=120) == WHOLE


def test_headings_and_words_go_on_below_and_then_columns_are_left_out():
    document = Document([TABLE])
    assert document.render(width=60) == AT_60
    assert document.render(width=44) == AT_44
    assert document.render(width=20).startswith(AT_20)  # a block of lines a row


def test_a_table_that_splits_leaves_nothing_out():
    names = ["base", "second", "third", "fourth"]
    columns = [TableColumn("", left=True)]
    columns += [TableColumn(name, rank=i) for i, name in enumerate(names)]
    table = Table(columns, [["goodput", *map(count, range(1000, 1004))]], splits=True)
    assert Document([table]).render(width=30) == (
        "          base  second  third\ngoodput  1,000   1,001  1,002\n\n"
        "          base  fourth\ngoodput  1,000   1,003\n"
    )  # fmt: skip


def test_the_other_formats():
    document = Document([Words(["a | b"]), Facts([("engine", "x"), ("", "y")]), TABLE])
    markdown = document.render("md").splitlines()
    assert markdown[0] == "a \\| b"
    assert (
        "| policy | smooth goodput (tokens/s) | TTFT p99 (ms) | preemptions (times) | what it is |"
        in markdown
    )
    assert "|---|---:|---:|---:|---|" in markdown
    latex = document.render("latex")
    assert "\\begin{tabular}{lrrrl}" in latex
    assert "vllm\\_v1 & 1,142 & 89.12 & 0 & first come, first served, in chunks \\\\" in latex
    rows = list(csv.DictReader(document.render("csv").splitlines()))
    assert rows[0]["smooth goodput (tokens/s)"] == "1142.04"  # not rounded
    assert rows[1]["TTFT p99 (ms)"] == ""
    found = json.loads(document.render("json"))
    assert found["facts"] == {"engine": ["x", "y"]}
    assert found["tables"][0]["rows"][1]["preemptions (times)"] == 12


def test_how_numbers_are_written():
    found = [str(each) for each in (share(0.5), share(None), count(1234), amount(1e-3))]
    assert found == ["50.0 %", "-", "1,234", "0.001000"]


WORDS = st.text("abcdef", min_size=1, max_size=9)
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)


@given(
    st.lists(st.tuples(WORDS, st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=6),
    st.data(),
    st.integers(12, 60),
)
def test_at_any_width_no_word_is_broken_and_no_line_too_long(heads, data, width):
    columns = [
        TableColumn(name, rank=rank if i else 0, left=left, wraps=wraps)
        for i, (name, rank, left, wraps) in enumerate(heads)
    ]
    rows = data.draw(st.lists(st.tuples(*(TEXTS for _ in columns)), min_size=1, max_size=4))
    table = Table(columns, rows, splits=data.draw(st.booleans()))
    text = Document([table]).render(width=width)
    known = {
        word for row in [[each.name for each in columns], *rows] for cell in row for word in cell.split()
    }
    known |= {f"{name}," for name in known} | {"left", "out", "at", str(width), "columns:"}
    for line in text.splitlines():
        assert set(line.split()) <= known
        longest = max(map(len, line.split()), default=0)
        assert len(line) <= max(width, longest + width // 2 + 4)
    for row in rows:
        assert all(word in text for word in row[0].split())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_facts_and_words_are_wrapped_and_commands_are_not(width):
    command = "vllm serve " + " ".join(f"--option-{i} {i}" for i in range(20))
    document = Document(
        [Facts([("Engine", "word " * 40)]), Words([command], exact=True), Words(["word " * 40])]
    )
    lines = document.render(width=width).splitlines()
    assert command in lines
    assert all(len(line) <= width for line in lines if line != command)
    assert sum(line.startswith(" " * 8) for line in lines) >= 1
    assert isinstance(count(3), Amount)
