"""One scenario under SGLang's own scheduler: what each batch was, and what it left behind.

A batch takes as long as the recordings' price says, whatever the scheduler does takes no time, and where it would
sleep the clock jumps to what comes next.
"""

import importlib
import itertools
from types import SimpleNamespace
from typing import Any

from benchmarks.record_sglang.world import STOP_TOKEN, new_scheduler

STREAM = 1 << 32  # ids of tokens: those of a stream by position
MOST_STEPS = 40_000
COLUMNS = (
    "sched", "kind", "preempted", "finished", "beyond", "ratio", "free_after_sched", "free_after_step", "cached",
    "n_running", "n_waiting", "t_sched_ns", "t_ns", "dur_ns",
)  # fmt: skip


class Done(Exception):  # noqa: N818 (it is how the loop ends)
    """Nothing is left to serve, or nothing can be any more."""


def step_ns(entries: list[Any], beyond: int, context: int) -> int:
    """The recordings' price of a step, in ns."""
    prefill: int = sum(entry[1] for entry in entries if isinstance(entry, list))
    decodes = sum(isinstance(entry, int) for entry in entries) + beyond
    return 4_000_000 + 60_000 * prefill + 12_000 * decodes + 20 * context


class Run:
    """The scheduler in a virtual world, and what is written down of it."""

    def __init__(self, module: Any, scenario: dict[str, Any]) -> None:
        self.settings, self.requests = scenario["settings"], scenario["requests"]
        self.now_ns = 0
        self.ended_steps = 0
        self.asked_again = False
        self.least_gap_ns = (
            1 << 60
        )  # between the clock and an event that it was compared with, but for equal ones
        self.gpu_free_ns = 0
        self.rows: list[dict[str, Any]] = []
        self.in_flight: list[tuple[dict[str, Any], list[int]]] = []
        self.ended: dict[int, tuple[str, int]] = {}
        self.tokens: dict[int, list[int]] = {}  # of each request, the steps that gave it one
        self.retracted: list[int] = []
        self.events = sorted(
            [(t, 0, i) for i, t in enumerate(self.requests["arrival_ns"])]
            + [(t, 1, i) for i, t in enumerate(self.requests.get("abort_ns", [])) if t is not None]
        )
        ticks = itertools.count()
        clock = SimpleNamespace(
            **{name: lambda: next(ticks) * 1e-6 for name in ("monotonic", "perf_counter", "time")}
        )
        for name in ("managers.scheduler", "managers.schedule_batch", "mem_cache.radix_cache",
                     "managers.scheduler_output_processor_mixin", "managers.scheduler_metrics_mixin"):  # fmt: skip
            importlib.import_module(f"sglang.srt.{name}").time = clock  # type: ignore[attr-defined]
        self.io = importlib.import_module("sglang.srt.managers.io_struct")
        self.sampling = importlib.import_module("sglang.srt.sampling.sampling_params").SamplingParams
        self.scheduler = new_scheduler(module, self)

    # The world: what SGLang asks of its sockets, its model and its sleep

    def receive(self, empty: type[Exception]) -> Any:
        """The next request or abort that has come by now."""
        if self.events and self.events[0][0] != self.now_ns:
            self.least_gap_ns = min(self.least_gap_ns, abs(self.events[0][0] - self.now_ns))
        if not self.events or self.events[0][0] > self.now_ns:
            raise empty
        _, abort, i = self.events.pop(0)
        if abort:
            return self.io.AbortReq(rid=f"{i:06d}")
        prompt = [stream * STREAM + position for position, stream in enumerate(self._streams(i))]
        params = self.sampling(
            max_new_tokens=self.requests["max_output"][i],
            ignore_eos=self.settings["ignore_eos"],
            temperature=0,
        )
        params.normalize(None)
        request = self.io.TokenizedGenerateReqInput(
            rid=f"{i:06d}", input_text="", input_ids=prompt, mm_inputs=None, sampling_params=params,
            return_logprob=False, logprob_start_len=-1, top_logprobs_num=0, token_ids_logprob=None, stream=False,
        )  # fmt: skip
        if "priority" in self.requests:
            request.priority = self.requests["priority"][i]
        return request

    def sleep(self) -> None:
        """It is idle: go on to what comes next, unless this attempt may have cleared the way for one more."""
        if self.scheduler.waiting_queue and not self.asked_again:
            self.asked_again = True
            return
        if not self.events:
            raise Done
        self.now_ns = max(self.now_ns, self.events[0][0])

    def forward(self, batch: Any) -> Any:
        """Begin a batch; its tokens are known in advance. Without overlap it ends at once."""
        import torch

        reqs = self.scheduler.cur_batch.reqs
        row = self.rows[-1]
        decoding = {id(req) for req in self.scheduler.cur_batch.decoding_reqs or ()}
        lengths = batch.seq_lens_cpu.tolist()
        extends = iter(batch.extend_seq_lens or ())
        entries: list[Any] = []
        context, ids = 0, []
        for req, length in zip(reqs, lengths, strict=True):
            i = int(req.rid)
            extend = 1 if batch.extend_seq_lens is None else next(extends)
            # A prompt of which one token is left after some output is priced as a decode, as in all recordings
            one_left = (
                extend == 1 and req.output_ids and length == len(req.origin_input_ids) + len(req.output_ids)
            )
            if batch.extend_seq_lens is None or id(req) in decoding or one_left:
                entries.append(i)
            else:
                entries.append([i, extend, length - extend])
            context += length
            last = length - self.requests["prompt"][i] + 1 == self.requests["output"][i]
            stop = last and not self.settings["ignore_eos"]
            ids.append(STOP_TOKEN if stop else self.requests["out_stream"][i] * STREAM + length)
        row["t_ns"] = max(self.now_ns, self.gpu_free_ns)
        row["dur_ns"] = step_ns(entries, 0, context)
        row["sched"], row["kind"] = entries, batch.forward_mode.name.lower()
        row["free_after_sched"], row["ratio"] = self._free(), self.scheduler.new_token_ratio
        row["preempted"], self.retracted = self.retracted, []
        self.gpu_free_ns = row["t_ns"] + row["dur_ns"]
        self.in_flight.append((row, ids))
        if not self.scheduler.enable_overlap:
            self.now_ns = self.gpu_free_ns
        output = SimpleNamespace(next_token_logprobs=None, input_token_logprobs=None, hidden_states=None)
        return SimpleNamespace(
            next_token_ids=torch.tensor(ids),
            logits_output=output,
            can_run_cuda_graph=False,
            pp_proxy_tensors=None,
        )

    def resolve(self, _: object = None) -> tuple[Any, list[int], bool]:
        """Wait for the oldest batch."""
        row, ids = self.in_flight[0]
        self.now_ns = max(self.now_ns, row["t_ns"] + row["dur_ns"])
        return (
            SimpleNamespace(next_token_logprobs=None, input_token_logprobs=None, hidden_states=None),
            ids,
            False,
        )

    # What is written down

    def before_plan(self) -> None:
        if len(self.rows) > MOST_STEPS:
            raise Done
        self.rows.append({"t_sched_ns": self.now_ns})

    def after_plan(self, batch: Any) -> None:
        if batch is None:
            self.rows.pop()
        else:
            self.asked_again = False

    def after_result(self, batch: Any, before: list[tuple[Any, int, bool]]) -> None:
        """A batch has ended: who got a token, who is done, what is free."""
        row, _ = self.in_flight.pop(0)
        step, self.ended_steps = self.ended_steps, self.ended_steps + 1
        row["finished"], row["beyond"] = [], []
        for req, had, was_finished in before:
            i = int(req.rid)
            if was_finished:
                row["beyond"].append(i)
                continue
            if len(req.output_ids) > had:
                self.tokens.setdefault(i, []).append(step)
            if req.finished():
                row["finished"].append(i)
                reason = type(req.finished_reason).__name__
                self.ended[i] = ("abort" if "ABORT" in reason else "length", self.now_ns)
        row["finished"].sort()
        row["sched"] = [entry for entry in row["sched"] if entry not in row["beyond"]]
        pool = self.scheduler.req_to_token_pool
        row["free_after_step"] = self._free()
        row["n_running"] = pool.size - len(pool.free_slots)
        row["n_waiting"] = len(self.scheduler.waiting_queue)
        tree = self.scheduler.tree_cache
        row["cached"] = 0 if tree.disable else tree.evictable_size() + tree.protected_size()

    def sent(self, message: Any) -> None:
        """What the scheduler tells its clients; of interest is a request that was dropped from the queue."""
        if isinstance(message, self.io.AbortReq) and message.rid:
            self.ended.setdefault(int(message.rid), ("abort", self.now_ns))

    def record(self) -> dict[str, Any]:
        """Serve all requests; return the recording's columns."""
        problem = None
        try:
            overlap = self.scheduler.enable_overlap
            (self.scheduler.event_loop_overlap if overlap else self.scheduler.event_loop_normal)()
        except Done:
            pass
        except (AssertionError, RuntimeError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
        rows = [row for row in self.rows if "finished" in row]
        n = len(self.requests["prompt"])
        return {
            "results": {
                "n_tokens": [len(self.tokens.get(i, ())) for i in range(n)],
                "tok_runs": [_runs(self.tokens.get(i, [])) for i in range(n)],
                "finish_ns": [self.ended.get(i, (None, None))[1] for i in range(n)],
                "reason": [self.ended.get(i, (None, None))[0] for i in range(n)],
            },
            "steps": {name: [row[name] for row in rows] for name in COLUMNS},
            "summary": {
                "n_steps": len(rows), "n_preemptions": sum(len(row["preempted"]) for row in rows),
                "stuck": [i for i in range(n) if i not in self.ended], "truncated": problem is not None,
                "problem": problem, "end_ns": self.now_ns, "min_poll_gap_ns": self.least_gap_ns,
            },
        }  # fmt: skip

    def _free(self) -> int:
        tree = self.scheduler.tree_cache
        evictable = 0 if tree.disable else tree.evictable_size()
        return int(self.scheduler.token_to_kv_pool_allocator.available_size() + evictable)

    def _streams(self, i: int) -> list[int]:
        return [stream for stream, length in self.requests["segs"][i] for _ in range(length)]


def _runs(steps: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for step in steps:
        if runs and runs[-1][0] + runs[-1][1] == step:
            runs[-1][1] += 1
        else:
            runs.append([step, 1])
    return runs
