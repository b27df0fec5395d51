"""Hardware as data: GPU and model profiles, the cost of a step, and how much KV cache fits.

``load_gpu`` and ``load_model`` read the shipped profiles by name or a user's own by path;
``AnalyticCost`` prices steps; ``kv_capacity`` adds up the memory.
"""

from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.gpu import Gpu, list_gpus, load_gpu
from hardware_profiles.kv_capacity import KvCapacity, kv_capacity, resolve_max_model_len
from hardware_profiles.model import Model, list_models, load_model

__all__ = [
    "AnalyticCost",
    "Gpu",
    "KvCapacity",
    "Model",
    "kv_capacity",
    "list_gpus",
    "list_models",
    "load_gpu",
    "load_model",
    "resolve_max_model_len",
]
