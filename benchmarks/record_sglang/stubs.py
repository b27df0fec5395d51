"""Stands in for what SGLang's scheduler imports and never needs to schedule: kernels, models, servers."""

import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

OTHER_PACKAGES = (
    "IPython", "PIL", "dill", "fastapi", "packaging", "pybase64", "pydantic", "requests", "sgl_kernel", "starlette",
    "tqdm", "triton",
)  # fmt: skip
PARTS_OF_SGLANG = (
    "sglang.lang", *(f"sglang.srt.{name}" for name in (
        "configs", "connector", "constrained", "disaggregation.base", "disaggregation.decode",
        "disaggregation.decode_kvcache_offload_manager", "disaggregation.kv_events", "disaggregation.prefill",
        "distributed", "eplb", "function_call", "layers", "lora", "managers.mm_utils", "managers.session_controller",
        "managers.tp_worker", "managers.tp_worker_overlap_thread", "mem_cache.hiradix_cache", "multimodal", "parser",
        "speculative", "torch_memory_saver_adapter", "two_batch_overlap", "utils.hf_transformers_utils",
    )),
)  # fmt: skip


class _Kind(type):
    """A class of which all that is asked for is another such class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _kind(name)

    def __getitem__(cls, key: object) -> "_Kind":
        return cls

    def __or__(cls, other: object) -> Any:
        return cls

    def __ror__(cls, other: object) -> Any:
        return cls


class _Nothing:
    """An object that does nothing: false, empty, a context, and a decorator that changes nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __call__(self, *arguments: Any, **_: object) -> Any:
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _kind(name)()

    def __bool__(self) -> bool:
        return False

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None: ...


def _kind(name: str) -> Any:
    return _Kind(name, (_Nothing,), {})


class _Module(ModuleType):
    __path__: list[str] = []  # noqa: RUF012 (a package without a folder)
    __file__ = "a stand-in"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = _kind(name)
        setattr(self, name, value)
        return value


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        found = any(name == each or name.startswith(f"{each}.") for each in OTHER_PACKAGES + PARTS_OF_SGLANG)
        return ModuleSpec(name, self, is_package=True) if found else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...


def import_scheduler(source: Path) -> Any:
    """Import ``sglang.srt.managers.scheduler`` from an unpacked wheel."""
    import torch  # what it finds of the packages below is to be real

    torch.compile = lambda function=None, **_: function or (lambda inner: inner)
    sys.path.insert(0, str(source))
    sys.meta_path.insert(0, _Finder())
    return importlib.import_module("sglang.srt.managers.scheduler")
