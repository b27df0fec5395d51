"""Traffic: what arrives, when, and how long it is. ``build`` turns a ``WorkloadSpec`` into a ``Workload``."""

from simulator.workload.build import build
from simulator.workload.spec import WorkloadSpec
from simulator.workload.workload import Workload

__all__ = ["Workload", "WorkloadSpec", "build"]
