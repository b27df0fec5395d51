"""What a run was worth to its users: pure functions of a delivery record.

One file a metric family, found by its file name: each has ``measure(log, user, slo)`` and its result appears
in the summary under the name of the file. Adding a metric is adding one file.
"""

from simulator.metrics.log import RequestLog
from simulator.metrics.options import Slo, UserModel
from simulator.metrics.summary import summarise

__all__ = ["RequestLog", "Slo", "UserModel", "summarise"]
