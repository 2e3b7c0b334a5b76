"""The calculators' pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_core_bpb.scaling.laws import FixedRatio, Law
from hf_core_bpb.scaling.plan import Plan

_INK, _ACCENT, _OTHER = "#4c566a", "#0b6e99", "#b8c4d0"


def draw_bits(bpb: float | None, compressors: Mapping[str, float]) -> Figure | None:
    """Return the model beside compressors of the same text and the 8 bits of knowing nothing."""
    if bpb is None:
        return None
    return _bars({"nothing known": 8.0, **compressors, "the model": bpb}, "the model", "bits per byte", "{:.3g}")


def draw_core(models: Mapping[str, float]) -> Figure | None:
    """Return CORE by model, lowest at the bottom."""
    return _bars(models, "yours", "CORE (v1)", "{:.3f}") if models else None


def draw_loss(rule: Law | FixedRatio, plan: Plan) -> Figure | None:
    """Return the law's loss over model size at the plan's compute, a tenth and ten times of it."""
    if not isinstance(rule, Law):
        return None
    figure, axes = _axes((7.0, 4.2))
    sizes = np.geomspace(plan.optimum.parameters / 100, plan.optimum.parameters * 100, 400)
    for times, colour in ((0.1, _OTHER), (10.0, _OTHER), (1.0, _ACCENT)):
        flops = times * plan.flops
        best = rule.optimal(flops)
        axes.plot(sizes, rule.loss(sizes, flops / (6 * sizes)), color=colour, linewidth=2 if times == 1 else 1.2)
        loss = rule.loss(best.parameters, best.tokens)
        axes.annotate(
            f"{flops:.2g} FLOPs", (best.parameters, loss), xytext=(0, -14), textcoords="offset points", ha="center",
            fontsize=9, color=_ACCENT if times == 1 else _INK,
        )  # fmt: skip
    if plan.optimum.parameters_ci95 is not None:
        axes.axvspan(*plan.optimum.parameters_ci95, color=_ACCENT, alpha=0.12, label="optimal N, 95 %")
    axes.scatter(
        [plan.parameters], [rule.loss(plan.parameters, plan.tokens)], color="#c2410c", zorder=3, label="this plan"
    )
    least = rule.loss(rule.optimal(10 * plan.flops).parameters, rule.optimal(10 * plan.flops).tokens)
    most = rule.loss(rule.optimal(0.1 * plan.flops).parameters, rule.optimal(0.1 * plan.flops).tokens)
    axes.set(
        xscale="log",
        xlabel="N, all parameters" if rule.convention == "total" else "N, weight matrices and head",
        ylabel="loss by the law (nats per token)",
        ylim=(least - 0.35 * (most - least), most + 1.6 * (most - least)),
        title=f"Loss over model size, {rule.name} (its own text and tokenizer)",
    )
    axes.legend(frameon=False, loc="upper center")
    return figure


def _bars(values: Mapping[str, float], accent: str, label: str, shown: str) -> Figure:
    figure, axes = _axes((7.0, 1.0 + 0.3 * len(values)))
    names = list(values)
    colours: Sequence[str] = [_ACCENT if name == accent else _OTHER for name in names]
    bars = axes.barh(names, list(values.values()), color=colours)
    axes.bar_label(bars, [shown.format(value) for value in values.values()], padding=4, fontsize=9, color=_INK)
    axes.set(xlabel=label)
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    return figure


def _axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    return figure, axes
