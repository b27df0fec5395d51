"""EPLB: hot experts get copies, and experts are packed so that GPUs get about as much (vLLM: enable_eplb).

The global policy of https://github.com/deepseek-ai/EPLB: each redundant place goes to the expert with the most load a
copy, then copies in falling order of their load each go to the GPU with the least load that has a place left. The
hierarchical policy, which keeps groups of experts on a node, is the same on one node and is left out.
"""

from dataclasses import dataclass

import numpy as np

from simulator.policy import ExpertPlacement, Floats, Ints


@dataclass
class Eplb(ExpertPlacement):
    """Placed once, by the load that it is going to have: what it comes to when the load has been counted."""

    num_redundant_experts: int = 0  # places beside one for each expert, as vLLM names them

    def place(self, load: Floats, gpus: int) -> Ints:
        """Return the packed copies."""
        copies = replicate(load, len(load) + self.num_redundant_experts)
        experts = np.repeat(np.arange(len(load)), copies)
        return experts[pack((load / copies)[experts], gpus)]


def replicate(load: Floats, places: int) -> Ints:
    """Return how many copies each expert gets of so many places."""
    copies = np.ones(len(load), np.int64)
    for _ in range(places - len(load)):
        copies[np.argmax(load / copies)] += 1
    return copies


def pack(load: Floats, gpus: int) -> Ints:
    """Return which of the items each GPU gets, equally many each: ``gpus`` x places."""
    most = len(load) // gpus
    packs: list[list[int]] = [[] for _ in range(gpus)]
    loads = [0.0] * gpus
    for item in np.argsort(-load, kind="stable").tolist():
        free = min((gpu for gpu in range(gpus) if len(packs[gpu]) < most), key=loads.__getitem__)
        packs[free].append(item)
        loads[free] += float(load[item])
    return np.array(packs)
