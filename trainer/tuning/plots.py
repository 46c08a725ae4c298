"""tuning.png: the score of each trial of a search, and by the hyperparameters that influence it most."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestRegressor
from sklearn.preprocessing import OrdinalEncoder

from trainer.report.plots import plt
from trainer.tuning.summary import CompletedTrial, SearchSummary

TRIAL_COLOUR, TUTORIAL_COLOUR, BEST_COLOUR = "#0072b2", "#d55e00", "#009e73"
SHOWN = 3
HYPERBAND_OWN = {f"tuner/{name}" for name in ("initial_epoch", "bracket", "round", "trial_id")}
FEWEST = 8  # completed trials below which a ranking of hyperparameters would be noise alone
TUTORIAL_STYLE = {"marker": "s", "markersize": 8, "color": TUTORIAL_COLOUR, "linestyle": ""}
BEST_STYLE = {"marker": "*", "markersize": 14, "color": BEST_COLOUR, "linestyle": ""}


def rank_hyperparameters(completed: list[CompletedTrial]) -> dict[str, float]:
    """Returns how much each hyperparameter influences the score, largest first; the shares add up to 1.

    The shares are the decrease of impurity in a random forest fitted to the scores: a description of these trials, no
    more. Empty when fewer than FEWEST trials completed.
    """
    if len(completed) < FEWEST:
        return {}
    names = sorted({name for trial in completed for name in trial.hyperparameters} - HYPERBAND_OWN)
    values = [[str(trial.hyperparameters.get(name, "")) for name in names] for trial in completed]
    encoded = OrdinalEncoder().fit_transform(values)
    for column, name in enumerate(names):
        if isinstance(completed[0].hyperparameters.get(name), (int, float)):
            encoded[:, column] = [float(trial.hyperparameters.get(name, -1)) for trial in completed]
    forest = RandomForestRegressor(n_estimators=200, random_state=0)
    forest.fit(encoded, [trial.score for trial in completed])
    shares = dict(zip(names, map(float, forest.feature_importances_), strict=True))
    return {name: shares[name] for name in sorted(shares, key=lambda name: (-shares[name], name)) if shares[name] > 0}


def draw_search(completed: list[CompletedTrial], failed: list[int], summary: SearchSummary) -> Figure:
    """Draws AUROC and log loss by trial, and the score by the hyperparameters that influence it most.

    Args:
        completed: The trials that did not fail, by number.
        failed: Numbers of those that did.
        summary: tuning.json's content.
    """
    shares = list(rank_hyperparameters(completed).items())[:SHOWN]
    figure, axes = plt.subplot_mosaic(
        "AAA;LLL;012" if shares else "AAA;LLL",  # A: AUROC, L: log loss, digits: hyperparameters
        figsize=(10, 9 if shares else 6),
        layout="constrained",
        height_ratios=[3, 2, 3] if shares else [3, 2],
    )
    axes["A"].set_title(
        f"{summary.trials} trials ({summary.tuner}), {summary.folds} folds of the training split: "
        f"{summary.images} images, {summary.patients} patients"
    )
    _draw_auroc(axes["A"], completed, failed, summary)
    _draw_log_loss(axes["L"], completed, summary)
    for name in "AL":
        axes[name].set_xlim(-0.7, summary.trials - 0.3)
        axes[name].locator_params(axis="x", integer=True)
        axes[name].grid(alpha=0.3)
    if shares:
        axes["0"].set_ylabel("score")
        for index in range(SHOWN):
            if index < len(shares):
                _draw_hyperparameter(axes[str(index)], completed, summary, *shares[index])
            else:
                axes[str(index)].axis("off")
    handles = {
        label: handle for name in "AL" for handle, label in zip(*axes[name].get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, fontsize=9)
    return figure


def _draw_auroc(axis: Axes, completed: list[CompletedTrial], failed: list[int], summary: SearchSummary) -> None:
    numbers = [trial.trial for trial in completed]
    means = [trial.auroc_mean for trial in completed]
    for trial in completed:
        folds = trial.auroc_folds
        axis.plot([trial.trial] * len(folds), folds, ".", color=TRIAL_COLOUR, alpha=0.25, markersize=5, zorder=1)
    axis.plot(numbers, means, "o", color=TRIAL_COLOUR, markersize=5, label="mean (dots: each fold)", zorder=2)
    best_so_far = np.maximum.accumulate(means)
    axis.plot(numbers, best_so_far, color=TRIAL_COLOUR, linewidth=1, alpha=0.6, label="best mean so far")
    if failed:
        bottom = axis.get_xaxis_transform()
        axis.plot(failed, [0.02] * len(failed), "x", color="black", transform=bottom, label="failed")
    _mark_trials(axis, summary, "auroc_mean")
    if corrected := summary.without_selection_bias:
        axis.axhspan(*corrected.auroc.ci95, color=BEST_COLOUR, alpha=0.08, linewidth=0)
        label = "corrected for picking the best, 95 % CI"
        axis.axhline(corrected.auroc.value, color=BEST_COLOUR, linestyle="--", linewidth=1, label=label)
    axis.set_ylabel("AUROC, held out")
    axis.tick_params(labelbottom=False)
    axis.set_ylim(top=min(axis.get_ylim()[1], 1.02))


def _draw_log_loss(axis: Axes, completed: list[CompletedTrial], summary: SearchSummary) -> None:
    axis.plot([trial.trial for trial in completed], [trial.log_loss for trial in completed], "o", markersize=5)
    _mark_trials(axis, summary, "log_loss")
    axis.set_yscale("log")
    for ticks in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
        ticks(ticker.StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_locator(ticker.LogLocator(subs=(2, 5)))
    axis.axhline(np.log(2), color="grey", linestyle=":", linewidth=1, label="log loss at chance")
    axis.set_ylabel("log loss, held out")
    axis.set_xlabel("trial")


def _draw_hyperparameter(
    axis: Axes, completed: list[CompletedTrial], summary: SearchSummary, name: str, share: float
) -> None:
    having = [trial for trial in completed if name in trial.hyperparameters]
    values = [trial.hyperparameters[name] for trial in having]
    ticks = sorted(set(values))
    continuous = all(isinstance(value, float) for value in values) and len(ticks) > 6
    place = {value: value if continuous else ticks.index(value) for value in ticks}
    axis.plot([place[value] for value in values], [trial.score for trial in having], "o", markersize=5, alpha=0.7)
    for trial, style in _marked(summary):
        if name in trial.hyperparameters:
            axis.plot(place[trial.hyperparameters[name]], trial.score, **style)
    if continuous:
        axis.set_xscale("log")
    else:
        labels = [f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ") for value in ticks]
        words = any(isinstance(value, str) for value in ticks)
        slant: dict[str, Any] = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"} if words else {}
        axis.set_xticks(range(len(ticks)), labels, **slant)
        axis.set_xlim(-0.5, len(ticks) - 0.5)
    axis.set_title(f"{name.replace('_', ' ')} (importance {share:.0%})", fontsize=10)
    axis.grid(alpha=0.3)


def _marked(summary: SearchSummary) -> list[tuple[CompletedTrial, dict]]:
    """The trials with a marker of their own: the tutorial's recipe, and the best on top of it."""
    marked = [(summary.tutorial, TUTORIAL_STYLE), (summary.best, BEST_STYLE)]
    return [(trial, style) for trial, style in marked if trial]


def _mark_trials(axis: Axes, summary: SearchSummary, metric: str) -> None:
    for trial, style in _marked(summary):
        label = "best score" if trial is summary.best else "tutorial's recipe"
        axis.plot(trial.trial, getattr(trial, metric), label=label, zorder=3, **style)
