"""Timing kernels with torch: in bfloat16 inside CUDA graphs on a GPU, in float32 on a CPU."""

import platform
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from simulator.errors import InputError

MISSING = "torch is not installed; expected after: pip install 'servesim[torch]'"
_COLD_BYTES = 256 * 2**20  # weights in turn add up to more than any cache holds
_MOST_COPIES = 32
_LEAST_S, _MOST_REPEATS, _SAMPLES = 0.002, 200, 5  # of one sample; a time is the median of the samples


class TorchTimer:
    """A ``measure.Timer``. Raises InputError without torch, and for a device that is not there."""

    def __init__(self, device: str | None = None) -> None:
        try:
            import torch
        except ImportError:
            raise InputError(MISSING) from None
        self._torch = torch
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self._device = torch.device(chosen)
            self.is_gpu = self._device.type == "cuda"
            if self._device.type not in ("cuda", "cpu"):
                raise RuntimeError("expected cuda or cpu")
            torch.zeros(1, device=self._device)
        except (RuntimeError, AssertionError) as error:
            text = str(error).split("\n")[0]
            raise InputError(f"--device {chosen}: {text}") from None
        self._dtype = torch.bfloat16 if self.is_gpu else torch.float32
        self.memory_bytes = 0
        self.description = f"CPU ({platform.machine()}), not a GPU"
        if self.is_gpu:
            properties = torch.cuda.get_device_properties(self._device)
            self.description, self.memory_bytes = properties.name, int(properties.total_memory)
        self.software = f"torch {torch.__version__}, {str(self._dtype).removeprefix('torch.')}"

    def matmul_ms(self, rows: int, inner: int, columns: int) -> float:
        """Time a product with a weight that is not in the cache: several of them are used in turn."""
        size = inner * columns * self._dtype.itemsize
        copies = min(_MOST_COPIES, -(-_COLD_BYTES // size)) if self.is_gpu else 1
        x, weights = self._random(rows, inner), [self._random(columns, inner) for _ in range(copies)]
        linear = self._torch.nn.functional.linear
        return self._time_ms([partial(linear, x, weight) for weight in weights])

    def elementwise_ms(self, tokens: int, hidden: int, intermediate: int) -> float:
        """Time two RMS norms with a residual each, and the gated activation."""
        functional = self._torch.nn.functional
        x, residual, weight = self._random(tokens, hidden), self._random(tokens, hidden), self._random(hidden)
        gate, up = self._random(tokens, intermediate), self._random(tokens, intermediate)

        def layer() -> None:
            for _ in range(2):
                functional.rms_norm(x + residual, (hidden,), weight)
            functional.silu(gate) * up

        return self._time_ms([layer])

    def attention_ms(
        self, sequences: int, new: int, keys: int, heads: int, kv_heads: int, head_dim: int, causal: bool
    ) -> float:
        """Time scaled_dot_product_attention with grouped queries."""
        attend = self._torch.nn.functional.scaled_dot_product_attention
        q = self._random(sequences, heads, new, head_dim)
        k, v = (self._random(sequences, kv_heads, keys, head_dim) for _ in range(2))
        grouped = heads != kv_heads
        return self._time_ms([lambda: attend(q, k, v, is_causal=causal, enable_gqa=grouped)])

    def _random(self, *shape: int) -> Any:
        return self._torch.randn(shape, device=self._device, dtype=self._dtype) * 0.05

    def _time_ms(self, kernels: list[Callable[[], Any]]) -> float:
        """Return the median milliseconds of one call, the kernels called in turn."""
        with self._torch.inference_mode():
            for kernel in kernels[:3]:
                kernel()
            calls = len(kernels)
            run = self._graph(kernels) if self.is_gpu else lambda: [kernel() for kernel in kernels]
            once_s = self._clock_s(run, 1)
            repeats = int(np.clip(_LEAST_S / max(once_s, 1e-7), 1, _MOST_REPEATS))
            samples = [self._clock_s(run, repeats) / repeats for _ in range(_SAMPLES)]
        return 1e3 * float(np.median(samples)) / calls

    def _graph(self, kernels: list[Callable[[], Any]]) -> Callable[[], Any]:
        """Return a replay of the kernels in a CUDA graph, as engines run them: without launching each."""
        cuda = self._torch.cuda
        cuda.synchronize(self._device)
        graph = cuda.CUDAGraph()
        with cuda.device(self._device), cuda.graph(graph):
            for kernel in kernels:
                kernel()
        replay: Callable[[], Any] = graph.replay
        replay()
        return replay

    def _clock_s(self, run: Callable[[], Any], repeats: int) -> float:
        if not self.is_gpu:
            began = time.perf_counter()
            for _ in range(repeats):
                run()
            return time.perf_counter() - began
        first, last = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(repeats):
            run()
        last.record()
        last.synchronize()
        return 1e-3 * float(first.elapsed_time(last))
