"""Which conclusions hold for any V, alpha and f, and which flip.

**Question.** Smooth goodput leaves three things to the task: the pace of the reader (V seconds a token), the
price of waiting (alpha) and its shape (f). How far can they be changed before a system that looked better looks
worse?

**Expected.** Signs that rest on tokens served sooner hold; where some wait so that others need not, as when
requests are abandoned, a penalty that grows faster or slower than the wait changes the balance.

**Reading of the paper.** Defaults: V = 0.05 s, linear f, alpha = 1/V, clock from arrival. Varied: V from 0.02 to
0.2 s, alpha from 0.1/V to 10/V tokens per unit of f, and f: l, l², exp(l/c) - 1, 1[l > c], max(0, l - c) with
c = 1 s. `smooth`, `edf` and `andes` decide by V, and are simulated anew for each; of alpha, f and the clock they are
told the defaults. For all else the same records are scored anew.

**Runs.** Five choices, each with the same requests for all its options, which arrive for 30 s (long prompts: 40 s),
the time over which all are scored. Scheduler: ShareGPT lengths with LLaMA-3.1-8B on A100 at 24 requests/s, about
saturation for vllm_v1; and with Qwen-2.5-14B on H100 at 50 (at 34 the best two tied). Rate: the first of these with
vllm_v1. Abandoning: the same at 34 requests/s, with and without dropping requests whose next token is more than 1 s
late. Chunks: prompts of 8192 tokens on H100 at load 1.15, a step's budget of 1024 tokens against whole prompts.

**Test.** A user model contradicts a choice if the option that is best under the defaults is beaten by the one that
is best under it: by more than 1 % of the tokens delivered, beyond the 95 % interval paired over seeds. It
contradicts the order of schedulers if any two, which differ so much under the defaults, do so the other way
round. A conclusion is stable if at most 5 % of the user models contradict it. Reproduced: all seven are stable;
partly: some. Intervals are per comparison: a contradiction speaks against the claim, so a correction for their number
would find fewer and help it. In the figure a cross marks a contradicted choice, a digit how many pairs of schedulers
swapped, and a frame the defaults.

Takes about 6 s (quick) and 40 s (full) on one core.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments.paper._c8_choices import ALPHAS, FEW_POLICIES, POLICIES, SETTINGS, SHAPES, V_S, Choice, score
from experiments.paper._c8_runs import RATES_RPS, V_DEFAULT_S, options_of
from experiments.paper._reproduce import ORIGINS, Study, Verdict, axes, main
from simulator.arrays import Flags, Floats
from simulator.metrics._accrued import tokens_by_window_end
from simulator.metrics._options import Origin
from simulator.metrics._window import measured
from simulator.report.style import policy_colour
from simulator.scenario.scenario import Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

CLAIM = "What smooth goodput says of schedulers, rates, chunks and abandoning holds for a wide range of V, alpha and f."
STABLE = SETTINGS["stable"]  # share of user models that may contradict


def judge(choices: Sequence[Choice], first_token: Sequence[Choice] = ()) -> Verdict:
    """Apply the test of this file to the choices with the clock from arrival; the others are only reported."""
    flips = _flips(choices)
    stable = {name: cells.mean() <= STABLE for name, cells in flips.items()}
    parts = [f"{name} {cells.mean():.0%}" for name, cells in flips.items()]
    by_shape = np.mean([cells.mean(axis=(0, 1)) for cells in flips.values()], axis=0)
    shapes = [f"{shape} {share:.0%}" for shape, share in zip(SHAPES, by_shape, strict=True)]
    chosen = [each.lead() for each in choices]
    numbers = (
        f"{sum(stable.values())} of {len(stable)} conclusions are stable. Contradicted by so many of the"
        f" {next(iter(flips.values())).size} user models: {', '.join(parts)}; by f: {', '.join(shapes)}."
        f" Best under the defaults, and by how many percent of the tokens delivered: {', '.join(chosen)}."
    )
    if first_token:
        others = [f"{name} {cells.mean():.0%}" for name, cells in _flips(first_token).items()]
        numbers += f" With the clock from the first token: {', '.join(others)}."
    outcome = "reproduced" if all(stable.values()) else "partly reproduced" if any(stable.values()) else ""
    most = max(flips, key=lambda name: flips[name].mean())
    caption = (
        f"{sum(stable.values())} of {len(stable)} conclusions are contradicted by at most {STABLE:.0%} of the"
        f" {next(iter(flips.values())).size} user models; {most} by {flips[most].mean():.0%}."
    )
    return Verdict(outcome or "not reproduced", CLAIM, numbers, caption)  # type: ignore[arg-type]


def _flips(choices: Sequence[Choice]) -> dict[str, Flags]:
    """Which user models contradict each conclusion, bool[V, alpha, f]."""
    flips = {}
    for choice in choices:
        flips[choice.name] = _over(choice, choice.contradicted)
        if choice.ordered:
            flips[f"order of {choice.name}"] = _over(choice, choice.swapped) > 0
    return flips


def _over(choice: Choice, asked: Any) -> NDArray[Any]:
    return np.reshape([asked(cell) for cell in choice.cells()], choice.worth.shape[2:])


def run(study: Study) -> Verdict:
    """Simulate once, score for all user models, draw and judge."""
    quick, seeds = study.quick, study.first_seeds(SETTINGS["seeds"])
    policies, rates = (FEW_POLICIES, RATES_RPS[::2]) if quick else (POLICIES, RATES_RPS)
    v_s, alphas = (V_S[::2], ALPHAS[::2]) if quick else (V_S, ALPHAS)
    options = options_of(policies, rates, seeds, v_s)
    every = [
        each for some in options.values() for of_v in some.values() for seeds_of in of_v for each in seeds_of
    ]
    study.simulate(every, label="C8 parameters")
    default = v_s.index(V_DEFAULT_S), alphas.index(1.0), SHAPES.index("linear")
    choices = {
        origin: [
            Choice(
                name,
                tuple(some),
                _worth(study, [*some.values()], v_s, alphas, origin),
                default,
                "sched" in name,
            )
            for name, some in options.items()
        ]
        for origin in ORIGINS
    }
    _write(study, choices, v_s, alphas)
    _draw(study, choices["arrival"], v_s, alphas)
    return judge(choices["arrival"], choices["first_token"])


def _worth(
    study: Study,
    options: Sequence[Sequence[Sequence[Scenario]]],
    v_s: Sequence[float],
    alphas: Sequence[float],
    origin: Origin,
) -> Floats:
    """Score all options, relative to the tokens a second of the option that delivers most, f64[option, seed, ...]."""
    scores, delivered = [], []
    for by_v in options:
        logs = [[measured(study.log(each), each.window) for each in seeds] for seeds in by_v]
        scores.append(
            [[score(log, [v], alphas, origin)[0] for log in of_v] for v, of_v in zip(v_s, logs, strict=True)]
        )
        delivered.append(
            [tokens_by_window_end(log.all).sum() / log.window_s for log in logs[v_s.index(V_DEFAULT_S)]]
        )
    by_seed = np.array(scores).swapaxes(1, 2)  # option, seed, V, alpha, f
    worth: Floats = by_seed / np.array(delivered).max(axis=0)[None, :, None, None, None]
    return worth


def _write(
    study: Study, choices: Mapping[Origin, Sequence[Choice]], v_s: Sequence[float], alphas: Sequence[float]
) -> None:
    rows = []
    for origin, some in choices.items():
        for choice in some:
            for i, j, k in choice.cells():
                best = choice.best((i, j, k))
                worth = [float(each) for each in choice.worth[:, :, i, j, k].mean(axis=1)]
                user = v_s[i], alphas[j] / v_s[i], SHAPES[k]
                flipped = choice.contradicted((i, j, k)), choice.swapped((i, j, k))
                listed = " ".join(f"{name}={w:.4g}" for name, w in zip(choice.options, worth, strict=True))
                rows.append((origin, choice.name, *user, choice.options[best], *flipped, listed))
    columns = (
        "clock_from",
        "choice",
        "v_s_per_token",
        "alpha_tokens",
        "f",
        "best",
        "contradicts",
        "pairs_swapped",
    )
    study.table("user_models", dict(zip((*columns, "worth"), zip(*rows, strict=True), strict=True)))


def _draw(study: Study, choices: Sequence[Choice], v_s: Sequence[float], alphas: Sequence[float]) -> None:
    from matplotlib.patches import Rectangle

    figure, grid = axes(len(choices), len(SHAPES), width="text", height_in=7.6, sharex=True, sharey=True)
    titles = {
        "linear": "f(l) = l",
        "quadratic": "l²",
        "exponential": "exp(l/c) - 1",
        "step": "1[l > c]",
        "hinge": "max(0, l - c)",
    }
    for row, choice in enumerate(choices):
        for k, shape in enumerate(SHAPES):
            panel: Axes = grid[row, k]
            image = _matrix(panel, choice, k, digits=choice.ordered)
            if k == choice.default[2]:
                corner = choice.default[0] - 0.5, choice.default[1] - 0.5
                panel.add_patch(
                    Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=1.4, zorder=3)
                )
            if row == 0:
                panel.set_title(titles[shape])
            panel.set_xticks(range(len(v_s)), [f"{1000 * v:g}" for v in v_s], fontsize=5.5)
            panel.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
            panel.grid(visible=False)
            panel.tick_params(length=0)
        what = "chunks of 1024" if choice.name == "chunks" else choice.name
        grid[row, 0].set_ylabel(f"{what}\nalpha · V")
        _explain(figure, image, grid[row].tolist(), choice)
    figure.supxlabel("V, ms a token", fontsize=8)
    study.save(figure, "user_models")


def _matrix(panel: "Axes", choice: Choice, k: int, digits: bool) -> "AxesImage":
    """Draw one shape of penalty: which option is best, or how much the second of two gains, and flips."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    shape = choice.worth.shape[3], choice.worth.shape[2]
    cells = [(i, j, k) for j in range(shape[0]) for i in range(shape[1])]
    gain: list[float] = []
    if len(choice.options) == 2:
        gain = [100 * float((choice.worth[1] - choice.worth[0]).mean(axis=0)[cell]) for cell in cells]
        image = panel.imshow(
            np.reshape(gain, shape), origin="lower", aspect="auto", cmap="RdBu", vmin=-50, vmax=50
        )
    else:
        many = len(choice.options)
        rates = [colormaps["viridis"](each) for each in np.linspace(0.25, 1, many)]
        colours = ListedColormap(
            [policy_colour(name) for name in choice.options] if choice.ordered else rates
        )
        best = np.reshape([choice.best(cell) for cell in cells], shape)
        image = panel.imshow(best, origin="lower", aspect="auto", cmap=colours, vmin=-0.5, vmax=many - 0.5)
        image.set_alpha(0.75)
    for cell in cells:
        swapped = choice.swapped(cell) if digits else 0
        mark = "\N{MULTIPLICATION SIGN}" if choice.contradicted(cell) else ""
        dark = len(choice.options) == 2 and abs(gain[cells.index(cell)]) > 35
        ink = "white" if dark else "black"
        text = mark + (str(swapped) if swapped else "")
        panel.text(cell[0], cell[1], text, ha="center", va="center", fontsize=6.5, color=ink)
    return image


def _explain(figure: "Figure", image: "AxesImage", panels: Any, choice: Choice) -> None:
    two = len(choice.options) == 2
    bar = figure.colorbar(image, ax=panels, aspect=12, pad=0.01, extend="both" if two else "neither")
    if two:
        bar.set_label("gain, % of tokens")
    else:
        bar.set_ticks(range(len(choice.options)), labels=choice.options)
        bar.set_label("best, requests/s" if choice.name == "rate" else "best")
    bar.ax.tick_params(length=0)


if __name__ == "__main__":
    main(run)
