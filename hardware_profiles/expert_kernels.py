"""What kernels of experts add to their roofline, where no table has measured them.

    layer = τ + passes·tokens·k·h·2 bytes/BW + [ (bytes read/(ηm·BW))^p + (slowdown·FLOP/(ηc·PF))^p ]^(1/p)

The roofline is that of dense matrices. τ: sorting tokens by expert and launching, whatever the size. Passes: tokens are
copied k times, ordered by expert, and their results weighted and summed; each GPU does that with all its tokens,
however thin its slices are. Slowdown: experts' tiles are not full, and rarely as large as a dense matrix's.

The three constants are fitted to the expert tables of Qwen3-30B-A3B (1, 2, 4 GPUs) and Mixtral-8x7B (1 to 8) on H100
and H200, 507 points of 1 to 16,384 tokens, which they give to a median 5 % and 30 % at worst; those on B200 and L40S
to a median of 3 to 11 % for Qwen3 and 7 to 37 % for Mixtral. Other GPUs and formats of weights are taken to be alike.
"""

from hardware_profiles.gpu import Gpu
from hardware_profiles.model import Model

OVERHEAD_S = 18.5e-6  # of a layer
PASSES = 6.1  # over the picks' hidden states
SLOWDOWN = 1.34  # of arithmetic, against dense matrices


def overhead_s(model: Model) -> float:
    """Return the seconds that all layers with experts take whatever the tokens."""
    return OVERHEAD_S * sum(
        n for part, n in model.parts.items() if any(each.is_expert for each in part.matrices)
    )


def sorting_s_per_token(gpu: Gpu, model: Model) -> float:
    """Return the seconds in which a GPU copies and sums one token's picks in all layers."""
    size = 0.0
    for part, n in model.parts.items():
        picks = max((matrix.active for matrix in part.matrices if matrix.is_expert), default=0)
        size += n * picks * model.hidden_size * model.bytes_per_value
    return PASSES * size / gpu.bandwidth_bytes_per_s
