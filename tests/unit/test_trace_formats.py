"""Every trace format that is read: the requests of a sample file, by count, time, length, session and prefix."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build
from simulator.workload.formats import names
from simulator.workload.reader import Trace, read_lengths
from simulator.workload.recognise import ReadAs
from simulator.workload.survey import shared_share

SAMPLES = Path(__file__).parent.parent / "data" / "formats"
AZURE = [0.0, 4.314579, 4.541877, 4.710427]
# format, requests, first arrivals (s), prompts, outputs; None for what the file does not say
TABLE = {
    "azure2023.csv": ("azure", 20, AZURE, [374, 396, 879, 91], [44, 109, 55, 16]),
    "azure2024.csv": ("azure", 5, [0.0, 0.04052, 0.156825, 0.157769, 0.998837], [1452, 584], [3, 3, 38, 3, 104]),
    "azure_lmm2025.csv": ("azure", 5, [0.0, 5.55, 6.244, 7.063, 7.297], [770, 949, 964], [491, 126]),
    "burstgpt_v1.csv": ("burstgpt", 3, [5.0, 45.0, 118.0], [472, 1087, 417], [18, 230, 276]),
    "mooncake_arxiv_slice_93.jsonl": ("mooncake", 93, [1178.625] * 9 + [1181.678], [2105, 9456], [650, 560]),
    "aiperf_mooncake_sessions.jsonl": ("mooncake", 4, [0.0, 0.35, 0.4, 2.5], [9176, 768, 3, 9500], [142, 192, 16, 98]),
    "agentic_mooncake.jsonl": ("mooncake", 2, [0.0, 0.005], [700, 900], [2, 1]),
    "bailian.jsonl": ("bailian", 2, [61.114, 72.5], [40, 181], [132, 80]),
    "weka_session.json": ("weka", 3, [0.0, 6.0, 12.0], [10261, 11443, 14126], [251, 280, 257]),
    "tracelab_rounds.jsonl": ("tracelab", 4, [0.0, 30.787, 57.399], [32272, 35740, 38592, 41131], [931, 1016]),
    "servegen_offline.jsonl": ("servegen_offline", 2, None, [61, 271], [2370, 1]),
    "servegen_chunk-dataset_trimmed.json": ("servegen_dataset", 1000, None, [39] * 250 + [40] * 250, []),
    "vidur_trace.csv": ("vidur", 10, AZURE, [374, 396, 879], [44, 109, 55]),
    "vidur_lengths.csv": ("vidur_lengths", 5, None, [3772, 2015, 3858, 2509, 3169], [54, 156, 133, 79, 189]),
    "splitwise_sim.csv": ("splitwise_sim", 3, [1.0, 3.0, 4.0], [4096, 2048, 2048], [32, 8, 16]),
    "llmservingsim.jsonl": ("llmservingsim", 4, [0.046926808, 0.347938952], [10, 1472, 1582, 1734], [3, 133]),
    "inference_simulator_rs.jsonl": ("vllm_vcr", 1, [0.0], [32], [5]),
    "aibrix_workload.jsonl": ("aibrix", 3, [0.021, 0.48, 0.48], [909, 57, 1200], [22, 181, 64]),
    "blis.csv": ("blis", 4, [0.072146, 0.370602, 1.088933], [871, 717, 52, 715], [3, 6, 6, 7]),
    "blis.yaml": ("blis", 4, [0.072146, 0.370602, 1.088933], [871, 717, 52, 715], [3, 6, 6, 7]),
    "otel_genai_session.json": ("otel", 3, [0.0, 3.0, 6.0], [8, 54, 121], [38, 58, 36]),
    "otlp_spans.json": ("otel", 2, [0.0, 1.5000005], [100, 200], [20, 30]),
    "openai_log.jsonl": ("request_log", 2, [0.0, 3.0], [11, 10], [4, 3]),
    "openai_batch.jsonl": ("request_log", 2, [0.0, 1.0], [20, 30], [5, 6]),
    "gateway.csv": ("request_log", 2, [0.0, 0.75], [100, 200], [20, 30]),
    "responses_ms.json": ("request_log", 2, [0.0, 0.5], [7, 8], [2, 3]),
    "sharegpt.json": ("sharegpt", 3, None, [7, 10, 1], [2, 5, 1]),
    "dynamo_trace.jsonl": ("dynamo", 2, [0.0, 1.0], [70, 130], [8, 16]),
    "aiperf_graph.jsonl": ("aiperf_graph", 3, [0.0, 0.5, 2.0], [4, 1, 16], [10, 3, 5]),
}  # fmt: skip
REFUSED = {"burstgpt_v3.csv", "servegen_chunk-trace.csv"}


def read(name, **how):
    trace = Trace(SAMPLES / name, ReadAs(**how))
    return trace, trace.read()[0]


@pytest.mark.parametrize("name", TABLE)
def test_a_sample_is_read_as_it_is(name):
    fmt, requests, arrival_s, prompt, output = TABLE[name]
    trace, found = read(name)
    assert trace.format_name == fmt
    assert len(found) == requests
    assert trace.timed == (arrival_s is not None)
    if arrival_s is not None:
        assert found.arrival_s[: len(arrival_s)].tolist() == arrival_s
    assert found.prompt_tokens[: len(prompt)].tolist() == prompt
    assert found.output_tokens[: len(output)].tolist() == output


def test_every_sample_and_every_format_is_in_the_table():
    files = {path.name for path in SAMPLES.iterdir()} - {"NOTICE.md"}
    assert files == TABLE.keys() | REFUSED
    own = {"servesim", "servesim_lengths", "sessions"}
    assert {fmt for fmt, *_ in TABLE.values()} | own == set(names())


@pytest.mark.parametrize("name", TABLE)
def test_a_sample_becomes_traffic(name):
    _, _, arrival_s, *_ = TABLE[name]
    keys = {} if arrival_s is not None else {"rate_rps": 2.0}
    if name == "sharegpt.json":
        keys["think_s"] = 1.0
    traffic = build(WorkloadSpec(trace=str(SAMPLES / name), **keys), seed=0)
    assert len(traffic) == TABLE[name][1]
    assert traffic.segments is None or len(list(traffic.segments)) == len(traffic)


@pytest.mark.parametrize(
    "name", ["azure2023.csv", "mooncake_arxiv_slice_93.jsonl", "gateway.csv", "burstgpt_v1.csv"]
)
@pytest.mark.parametrize("kind", ["gz", "skip", "sort", "parquet"])
def test_the_same_in_another_way(name, kind, tmp_path):
    path, how = SAMPLES / name, {}
    if kind == "gz":
        path = tmp_path / f"{name}.gz"
        path.write_bytes(gzip.compress((SAMPLES / name).read_bytes()))
    elif kind == "parquet":
        if not name.endswith(".csv"):
            pytest.skip("of tables only")
        path = tmp_path / "t.parquet"
        pq.write_table(pa_csv.read_csv(SAMPLES / name), path)
    else:
        how = {"skip": {"skip_bad": True}, "sort": {"sort": True}}[kind]
    trace = Trace(path, ReadAs(**how))
    found, (_, same) = trace.read()[0], read(name)
    assert trace.format_name == TABLE[name][0]
    for column in ("arrival_s", "prompt_tokens", "output_tokens"):
        assert getattr(found, column).tolist() == getattr(same, column).tolist()
    assert found.segments() == same.segments()
    assert not trace.said


def test_what_a_format_is_not_told_by_can_be_forced(tmp_path):
    path = tmp_path / "requests.txt"
    shutil.copy(SAMPLES / "weka_session.json", path)
    assert Trace(path).format_name == "weka"
    assert Trace(path, ReadAs(format="weka")).read()[1].rows == 3
    with pytest.raises(InputError, match="no 'TIMESTAMP' found"):
        Trace(path, ReadAs(format="azure")).read()
    with pytest.raises(InputError, match=r"workload\.format: 'nix' found; expected one of servesim, "):
        Trace(path, ReadAs(format="nix"))


def test_sessions_wait_where_the_file_says_how_long():
    waits = {
        "weka_session.json": [3.0, 3.0],
        "tracelab_rounds.jsonl": [19.291, 12.688, 21.467],
        "llmservingsim.jsonl": [0.127348767, 0.197295027],
        "aiperf_mooncake_sessions.jsonl": [2.5],
        "agentic_mooncake.jsonl": [0.005],
        "aiperf_graph.jsonl": [0.5, 1.5],
    }
    for name, think_s in waits.items():
        found = read(name)[1].think_s
        assert found[~np.isnan(found)].tolist() == think_s, name
    for name in ("otel_genai_session.json", "dynamo_trace.jsonl"):
        found = read(name)[1]
        assert found.session is not None
        assert found.think_s is None, "they come at their recorded times"


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("weka_session.json", 160 * 64 + 178 * 64),  # 10,261 and 11,443 tokens in full blocks
        ("mooncake_arxiv_slice_93.jsonl", None),
        ("bailian.jsonl", 2 * 16),  # the third block is another
        ("dynamo_trace.jsonl", 64),
        ("agentic_mooncake.jsonl", 512),
        ("tracelab_rounds.jsonl", (29380 // 64 + 35738 // 64 + 38590 // 64) * 64),
        ("sharegpt.json", 7 + 2),
        ("servegen_offline.jsonl", 0),
    ],
)
def test_prompts_share_what_the_file_says(name, tokens):
    found = read(name)[1]
    share = shared_share(found)
    assert share is not None
    if tokens is not None:
        assert share * found.prompt_tokens.sum() == pytest.approx(tokens)
    else:
        assert 0.3 < share < 0.5


def test_token_ids_tell_what_prompts_share(tmp_path):
    ids = list(range(40))
    lines = [
        f'{{"input_toks": 40, "output_toks": 2, "arrival_time_ns": {i}, "input_tok_ids": {ids[: 40 - i] + [99] * i}}}'
        for i in (0, 9)
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(lines))
    assert shared_share(Trace(path).read()[0]) == 16 / 80  # the second block differs from its last token on


def test_groups_of_blis_stand_before_the_prompt(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "request_id,prefix_group,prefix_length,input_tokens,output_tokens,server_input_tokens,deadline_us,arrival_time_us\n"
        "0,g,100,10,5,112,0,2000000\n1,g,100,20,6,123,9000000,3000000\n2,,0,30,7,33,0,1000000\n"
    )
    found = Trace(path).read()[0]
    assert found.arrival_s.tolist() == [1.0, 2.0, 3.0]
    assert found.prompt_tokens.tolist() == [33, 110, 120]
    assert found.prefix_tokens.tolist() == [0, 100, 100]
    assert found.patience_s[2] == 6.0


def test_servegen_has_rates_and_lengths():
    rates = SAMPLES / "servegen_chunk-trace.csv"
    with pytest.raises(InputError, match=r"expected it as workload\.load"):
        Trace(rates)
    prompt, output = read_lengths(SAMPLES / "servegen_chunk-dataset_trimmed.json")
    assert (np.unique(prompt).tolist(), np.unique(output).tolist()) == ([39, 40, 4096], [100, 2000])
    spec = WorkloadSpec(
        arrivals="constant", duration_s=1200.0, load=str(rates), prompt_tokens=10, output_tokens=5
    )
    assert len(build(spec, 0)) == pytest.approx(600 * (0.105 + 0.15333), abs=2)


def test_parquet_may_hold_times_of_the_calendar(tmp_path):
    path = tmp_path / "t.parquet"
    times = pa.array([1_795_000_000_000, 1_795_000_000_250], pa.timestamp("ms", tz="UTC"))
    pq.write_table(pa.table({"created_at": times, "input_tokens": [1, 2], "output_tokens": [3, 4]}), path)
    assert Trace(path).read()[0].arrival_s.tolist() == [0.0, 0.25]


def test_sessions_of_aiperf_may_go_without_times(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"session_id": "a", "input_length": 300, "output_length": 40}\n'
        '{"session_id": "a", "delay": 2000, "input_length": 450, "output_length": 20}\n'
        '{"session_id": "b", "input_length": 9, "output_length": 4}\n'
    )
    trace = Trace(path)
    assert (trace.format_name, trace.timed) == ("mooncake without times", False)
    traffic = build(WorkloadSpec(trace=str(path), rate_rps=1.0), 0)
    assert (
        traffic.think_s.tolist()[traffic.prompt_tokens.tolist().index(790)] == 2.0
    )  # 300 and 40 are sent again


def test_a_recording_without_arrivals_has_lengths(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"prompt_tokens": 32, "output_tokens": 5, "ttft_ms": 18.8}\n' * 3)
    trace = Trace(path)
    assert (trace.format_name, trace.timed) == ("vllm_vcr lengths", False)
    assert len(build(WorkloadSpec(trace=str(path), rate_rps=1.0), 0)) == 3


@pytest.mark.parametrize("inner_s", [(0.0, 4.0), (10.0, 14.0)])
def test_a_sub_agent_counts_from_its_own_start_or_the_session_s(tmp_path, inner_s):
    def request(at, **more):
        return {"t": at, "type": "n", "in": 130, "out": 5, "hash_ids": [1, 2], **more}

    inner = [request(inner_s[0]), request(inner_s[1], think_time=1.5)]
    requests = [
        request(0.0),
        {"t": 10.0, "type": "subagent", "agent_id": "x", "requests": inner},
        request(30.0),
    ]
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"id": "s", "block_size": 64, "hash_id_scope": "local", "requests": requests}))
    found = Trace(path).read()[0]
    assert found.arrival_s.tolist() == [0.0, 10.0, 14.0, 30.0]
    assert found.session.tolist().count(found.session[0]) == 2, "an agent is a conversation of its own"
    assert found.think_s[~np.isnan(found.think_s)].tolist() == [1.5]


def test_nested_attributes_of_a_span_are_found(tmp_path):
    span = {"start_time": "2026-01-01T00:00:00Z", "attributes": {"gen_ai": {"operation": {"name": "chat"}}}}
    span["attributes"]["gen_ai"]["usage"] = {"input_tokens": 11, "output_tokens": 3}
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(span) + "\n" + json.dumps(span | {"start_time": "2026-01-01T00:00:02Z"}))
    trace = Trace(path)
    assert trace.format_name == "otel"
    assert trace.read()[0].prompt_tokens.tolist() == [11, 11]
