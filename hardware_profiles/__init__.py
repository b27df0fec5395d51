"""Hardware as data: GPU and model profiles, the cost of a step, and how much KV cache fits.

``load_gpu``, ``load_model``, ``load_engine`` and ``load_link`` read the shipped profiles by name, or your own by path;
``step_cost`` prices steps, by measured tables or by a formula; ``kv_capacity`` adds up the memory.
"""

from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.costs import step_cost
from hardware_profiles.engine import EngineProfile, engine_of, list_engines, load_engine, native_rules
from hardware_profiles.gpu import Gpu, list_gpus, load_gpu
from hardware_profiles.kv_capacity import KvCapacity, kv_capacity, resolve_max_model_len
from hardware_profiles.link import LinkProfile, list_links, load_link
from hardware_profiles.model import Model
from hardware_profiles.model_files import list_models, load_model
from hardware_profiles.step_cost import HardwareCost
from hardware_profiles.tables import find_table, list_tables
from hardware_profiles.tabulated import TabulatedCost

__all__ = [
    "AnalyticCost",
    "EngineProfile",
    "Gpu",
    "HardwareCost",
    "KvCapacity",
    "LinkProfile",
    "Model",
    "TabulatedCost",
    "engine_of",
    "find_table",
    "kv_capacity",
    "list_engines",
    "list_gpus",
    "list_links",
    "list_models",
    "list_tables",
    "load_engine",
    "load_gpu",
    "load_link",
    "load_model",
    "native_rules",
    "resolve_max_model_len",
    "step_cost",
]
