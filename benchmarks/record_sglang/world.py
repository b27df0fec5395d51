"""SGLang's own, unmodified scheduler, and the world that it is put into.

Real are ``Scheduler`` with its event loops, ``ScheduleBatch``, ``PrefillAdder``, ``SchedulePolicy``, the caches and the
allocators of KV and request slots. Not real are the model, the sockets and the clock.
"""

import importlib
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from benchmarks.record_sglang import kernels

STOP_TOKEN = 1  # its id


class Ordered(dict[Any, None]):
    """A set that keeps its order."""

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(dict.fromkeys(items))

    def add(self, item: Any) -> None:
        self[item] = None


class _NoSpeculation:
    def is_none(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return lambda: False


def new_scheduler(module: Any, run: Any) -> Any:
    """Return SGLang's scheduler in a world that ``run`` makes: its requests, its model and its sleep."""
    import torch
    import zmq

    settings = run.settings
    allocator: Any = importlib.import_module("sglang.srt.mem_cache.allocator")
    pools = importlib.import_module("sglang.srt.mem_cache.memory_pool")
    batches = importlib.import_module("sglang.srt.managers.schedule_batch")
    page = settings["page_size"]
    common = (torch.float16, "cpu", None, False)
    if page == 1:
        kv_pool = allocator.TokenToKVPoolAllocator(settings["max_total_tokens"], *common)
    else:
        allocator.alloc_extend_kernel = kernels.Launched(kernels.alloc_extend)
        allocator.alloc_decode_kernel = kernels.Launched(kernels.alloc_decode)
        kv_pool = allocator.PagedTokenToKVPoolAllocator(settings["max_total_tokens"], page, *common)
    seats = settings["max_running_requests"]
    slots = pools.ReqToTokenPool(seats + 8, settings["context_length"] + 4, "cpu", False)
    max_len = min(settings["context_length"] - 1, settings["max_total_tokens"] - 1)
    worker = SimpleNamespace(
        get_worker_info=lambda: (
            settings["max_total_tokens"], settings["max_prefill_tokens"], seats, None, max_len, max_len - 5, 0,
            "cpu", {}, None, None, None,
        ),
        get_tp_group=lambda: SimpleNamespace(cpu_group=None), get_attention_tp_group=lambda: None,
        get_attention_tp_cpu_group=lambda: None, get_pad_input_ids_func=lambda: None, is_hybrid=False,
        get_memory_pool=lambda: (slots, kv_pool), forward_batch_generation=run.forward,
        resolve_last_batch_result=run.resolve, cur_sampling_info=None,
        model_runner=SimpleNamespace(is_hybrid_gdn=False),
    )  # fmt: skip
    worker.worker = worker
    module.TpModelWorker = module.TpModelWorkerClient = lambda **_: worker
    batches.global_server_args_dict.update(attention_backend="torch_native", max_micro_batch_size=None)
    module.ModelConfig.from_server_args = lambda _: SimpleNamespace(
        is_generation=True, context_len=settings["context_length"], vocab_size=1 << 62, is_encoder_decoder=False,
        hf_eos_token_id={STOP_TOKEN}, hf_config=None, is_multimodal=False, is_multimodal_gen=False,
    )  # fmt: skip
    module.compute_dp_attention_world_info = lambda *_: (0, 1, 0)
    module.SpeculativeAlgorithm.from_string = lambda _: _NoSpeculation()
    module.get_zmq_socket = lambda *_: SimpleNamespace(send_pyobj=run.sent, recv_pyobj=None)
    # It puts those retracted for an urgent one back in a set's order, that of memory addresses: here in the order in
    # which it chose them
    importlib.import_module("sglang.srt.managers.schedule_policy").set = Ordered  # type: ignore[attr-defined]
    module.threading.Thread = lambda **_: SimpleNamespace(start=lambda: None)  # its watchdog
    module.require_mlp_sync = lambda _: False

    class Watched(module.Scheduler):  # type: ignore[misc]
        """The scheduler, telling the run of each moment."""

        def get_next_batch_to_run(self) -> Any:
            run.before_plan()
            batch = super().get_next_batch_to_run()
            run.after_plan(batch)
            return batch

        def process_batch_result(self, batch: Any, result: Any, launch_done: Any = None) -> None:
            before = [(req, len(req.output_ids), req.finished()) for req in batch.reqs or ()]
            super().process_batch_result(batch, result, launch_done)
            if batch.reqs is not None:
                run.after_result(batch, before)

        def _add_request_to_queue(self, req: Any, is_retracted: bool = False) -> None:
            if req.is_retracted:
                run.retracted.append(int(req.rid))
            super()._add_request_to_queue(req, is_retracted)

    ports = SimpleNamespace(**dict.fromkeys(
        ("scheduler_input_ipc_name", "rpc_ipc_name", "tokenizer_ipc_name", "detokenizer_ipc_name",
         "metrics_ipc_name", "nccl_port")))  # fmt: skip
    scheduler = Watched(_arguments(module, settings), ports, 0, 0, 0, 0, None)

    def nothing(*_: object) -> Any:
        raise zmq.ZMQError

    scheduler.recv_from_tokenizer.recv_pyobj = lambda _: run.receive(zmq.ZMQError)
    scheduler.recv_from_rpc = SimpleNamespace(recv_pyobj=nothing)
    scheduler.idle_sleeper = SimpleNamespace(maybe_sleep=run.sleep)
    return scheduler


def _arguments(module: Any, settings: dict[str, Any]) -> Any:
    """SGLang's server arguments: its defaults but for the scenario's settings, unchecked by what loads a model."""
    arguments = object.__new__(module.ServerArgs)
    names = ("page_size", "schedule_policy", "schedule_conservativeness", "chunked_prefill_size",
             "disable_overlap_schedule", "disable_radix_cache", "enable_mixed_chunk",
             "enable_priority_scheduling", "schedule_low_priority_values_first",
             "priority_scheduling_preemption_threshold", "max_prefill_tokens")  # fmt: skip
    for field in module.ServerArgs.__dataclass_fields__.values():
        if field.default is not field.default_factory:  # both missing: it has to be given
            setattr(arguments, field.name, field.default)
    for name in names:
        setattr(arguments, name, settings[name])
    arguments.skip_tokenizer_init = True
    arguments.device = "cpu"
    return arguments
