"""Records what SGLang's own scheduler decides, on a CPU, with a fake model and a virtual clock.

    python -m benchmarks.record_sglang SOURCE OUT [NAME ...]

SOURCE is an unpacked wheel of SGLang (``pip download --no-deps sglang==0.5.3``, then unzip); needed besides are
numpy, psutil, pyzmq, setproctitle and torch, for which a CPU is enough. Each scenario, or only those named, becomes
``OUT/NAME.json.gz``, as ``benchmarks/recordings/README.md`` describes them.
"""
