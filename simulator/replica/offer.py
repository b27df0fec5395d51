"""What a replica offers: a model at a price, which a router may know where replicas are unlike."""

from typing import NamedTuple


class Offer(NamedTuple):
    """What one replica serves, and what it costs."""

    pool: str = ""  # its name in cluster.pools; empty where all replicas are alike
    model: str = ""
    usd_per_hour: float = 0.0  # of all its GPUs
    quality: float | None = None  # mean score of the model's answers, from 0 to 1; None: not known
    usd_per_request: float = 0.0  # at a list price; 0: none is known


NO_OFFER = Offer()
