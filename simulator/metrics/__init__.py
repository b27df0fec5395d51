"""What a run was worth to its users: pure functions of a delivery record.

One file a metric family, found by its file name: each has ``measure(log, user, slo)`` and its result appears
in the summary under the name of the file, and says in ``MEASURES`` what its numbers are called and which way is
better. Adding a metric is adding one file. What metrics are made from is in files whose names begin with an
underscore.
"""

from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure, spread
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._summary import measures, summarise

__all__ = ["Measure", "RequestLog", "Slo", "UserModel", "measures", "spread", "summarise"]
