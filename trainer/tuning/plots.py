"""tuning.png: what each trial of a search scored, the tutorial's point among them, and what mattered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker
from sklearn.ensemble import RandomForestRegressor
from sklearn.preprocessing import OrdinalEncoder

from trainer.report import plots
from trainer.tuning.selection import TUTORIAL_TRIAL

TRIAL_COLOUR, TUTORIAL_COLOUR, BEST_COLOUR = "#0072b2", "#d55e00", "#009e73"
SHOWN = 3
HYPERBAND_OWN = {f"tuner/{name}" for name in ("initial_epoch", "bracket", "round", "trial_id")}
FEWEST = 8  # completed trials below which a ranking of hyperparameters would be noise alone


def importances(rows: list[dict]) -> dict[str, float]:
    """How much each hyperparameter has to do with the score, largest first; the shares add up to 1.

    rows: completed trials, as `results.Table` keeps them. The shares are the decrease of impurity in a random
    forest fitted to the scores: a description of these trials, no more. Empty when the trials are too few.
    """
    if len(rows) < FEWEST:
        return {}
    names = sorted({name for row in rows for name in row["hyperparameters"]} - HYPERBAND_OWN)
    values = [[str(row["hyperparameters"].get(name, "")) for name in names] for row in rows]
    numeric = {name for name in names if isinstance(rows[0]["hyperparameters"].get(name), (int, float))}
    encoded = OrdinalEncoder().fit_transform(values)
    for column, name in enumerate(names):
        if name in numeric:
            encoded[:, column] = [float(row["hyperparameters"].get(name, -1)) for row in rows]
    forest = RandomForestRegressor(n_estimators=200, random_state=0)
    forest.fit(encoded, [row["judged"].score for row in rows])
    shares = dict(zip(names, map(float, forest.feature_importances_), strict=True))
    return {name: shares[name] for name in sorted(shares, key=lambda name: (-shares[name], name)) if shares[name] > 0}


def draw(path: Path, rows: list[dict], summary: dict) -> None:
    """Draw tuning.png. rows: all trials in order, as in `results.Table`. summary: tuning.json's content."""
    completed = [row for row in rows if row["judged"] is not None]
    shown = list(importances(completed).items())[:SHOWN]
    mosaic = [["auroc"] * SHOWN, ["loss"] * SHOWN, [f"hp{index}" for index in range(SHOWN)]]
    figure, axes = plt.subplot_mosaic(
        mosaic if shown else mosaic[:2],
        figsize=(10, 9 if shown else 6),
        layout="constrained",
        height_ratios=[3, 2, 3] if shown else [3, 2],
    )
    axes["auroc"].set_title(
        f"{len(rows)} trials ({summary['tuner']}), {summary['folds']} folds of the training split: "
        f"{summary['images']} images, {summary['patients']} patients"
    )
    _auroc(axes["auroc"], rows, completed, summary)
    _log_loss(axes["loss"], completed, summary)
    for index in range(SHOWN if shown else 0):
        axis = axes[f"hp{index}"]
        if index < len(shown):
            _hyperparameter(axis, completed, summary, *shown[index])
        else:
            axis.axis("off")
    if shown:
        axes["hp0"].set_ylabel("score")
    handles = {
        label: handle
        for name in ("auroc", "loss")
        for handle, label in zip(*axes[name].get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, fontsize=9)
    plots.save(figure, path)


def _auroc(axis, rows: list[dict], completed: list[dict], summary: dict) -> None:
    number = [row["trial"] for row in completed]
    mean = np.asarray([row["judged"].auroc.mean() for row in completed])
    for row in completed:
        folds = row["judged"].auroc
        axis.plot([row["trial"]] * len(folds), folds, ".", color=TRIAL_COLOUR, alpha=0.25, markersize=5, zorder=1)
    axis.plot(number, mean, "o", color=TRIAL_COLOUR, markersize=5, label="mean (dots: each fold)", zorder=2)
    axis.plot(number, np.maximum.accumulate(mean), color=TRIAL_COLOUR, linewidth=1, alpha=0.6, label="best mean so far")
    failed = [row["trial"] for row in rows if row["judged"] is None]
    if failed:
        low = axis.get_xaxis_transform()
        axis.plot(failed, [0.02] * len(failed), "x", color="black", transform=low, label="failed")
    _mark(axis, summary, "auroc_mean")
    if (unbiased := summary["without_selection_bias"]) is not None:
        value, (low, high) = unbiased["auroc"]["value"], unbiased["auroc"]["ci95"]
        axis.axhspan(low, high, color=BEST_COLOUR, alpha=0.08, linewidth=0)
        axis.axhline(
            value, color=BEST_COLOUR, linestyle="--", linewidth=1, label="the choice without selection bias, 95 % CI"
        )
    axis.set_ylabel("AUROC, held out")
    axis.tick_params(labelbottom=False)
    axis.set_ylim(top=min(axis.get_ylim()[1], 1.02))
    _finish(axis, rows)


def _log_loss(axis, completed: list[dict], summary: dict) -> None:
    axis.plot([row["trial"] for row in completed], [row["judged"].log_loss for row in completed], "o", markersize=5)
    _mark(axis, summary, "log_loss")
    axis.set_yscale("log")
    for ticks in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
        ticks(ticker.StrMethodFormatter("{x:g}"))
    axis.yaxis.get_minor_locator().set_params(subs=(2, 5))
    axis.axhline(np.log(2), color="grey", linestyle=":", linewidth=1, label="log-loss of a tossed coin")
    axis.set_ylabel("log-loss, held out")
    axis.set_xlabel("trial")
    _finish(axis, completed)


def _hyperparameter(axis, completed: list[dict], summary: dict, name: str, share: float) -> None:
    having = [row for row in completed if name in row["hyperparameters"]]
    values = [row["hyperparameters"][name] for row in having]
    continuous = all(isinstance(value, float) for value in values) and len(set(values)) > 6
    ticks = sorted(set(values))
    place = {value: value if continuous else ticks.index(value) for value in ticks}
    axis.plot([place[value] for value in values], [row["judged"].score for row in having], "o", markersize=5, alpha=0.7)
    for key, marker, colour, size in (("tutorial", "s", TUTORIAL_COLOUR, 8), ("best", "*", BEST_COLOUR, 14)):
        point = summary[key]
        if point and name in point["hyperparameters"]:
            axis.plot(place[point["hyperparameters"][name]], point["score"], marker, color=colour, markersize=size)
    if continuous:
        axis.set_xscale("log")
    else:
        labels = [f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ") for value in ticks]
        words = any(isinstance(value, str) for value in ticks)
        slant = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"} if words else {}
        axis.set_xticks(range(len(ticks)), labels, **slant)
        axis.set_xlim(-0.5, len(ticks) - 0.5)
    axis.set_title(f"{name.replace('_', ' ')} (importance {share:.0%})", fontsize=10)
    axis.grid(alpha=0.3)


def _mark(axis, summary: dict, figure: str) -> None:
    best, tutorial = summary["best"], summary["tutorial"]
    if tutorial:
        style = {"color": TUTORIAL_COLOUR, "markersize": 8, "label": "tutorial's point", "zorder": 3}
        axis.plot(TUTORIAL_TRIAL, tutorial[figure], "s", **style)
    axis.plot(best["trial"], best[figure], "*", color=BEST_COLOUR, markersize=14, label="best score", zorder=4)


def _finish(axis, rows: list[dict]) -> None:
    axis.set_xlim(-0.7, max(row["trial"] for row in rows) + 0.7)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
