"""MODEL_CARD.md: a run in Hugging Face's layout, with the items of TRIPOD+AI and CLAIM answered.

Collins et al. (2024), TRIPOD+AI statement, BMJ 385: e078378 (27 items). Tejani et al. (2024), Checklist for
Artificial Intelligence in Medical Imaging (CLAIM): 2024 update, Radiology: Artificial Intelligence 6: e240300 (44
items). The template names the items in few words of our own, and answers "not done" where the project did not do them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import jinja2

from covid_tfds.common.markdown import escaped
from covid_tfds.examples import FACTS
from trainer.report.facts import (
    CLASS_METRICS,
    DECISION_METRICS,
    METRIC_NAMES,
    PUBLISHED,
    SUBGROUPS,
    choose_best_metrics,
    format_estimate,
    is_tutorial,
    list_score_metrics,
    name_cross_validation,
    name_weights,
)
from trainer.run_folder.dataset_card import UNKNOWN, Ages, DatasetCard, Group
from trainer.run_folder.run import Run

# Hugging Face's name of each metric, as on its leaderboards.
HUB_METRICS = {
    "sensitivity": "recall",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "f1",
    "auroc": "roc_auc",
    "pr_auc": "average_precision",
    "accuracy": "accuracy",
    "brier": "brier_score",
}
TAGS = ("medical-imaging", "chest-x-ray", "covid-19", "vgg16", "education")


def render(run: Run, facts: dict[str, Any]) -> str:
    """Returns the card of a run as Markdown. facts: see `collect_facts`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainer.report"),
        autoescape=False,  # of HTML; `escaped` does it for Markdown
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"estimate": format_estimate, "as_dict": dataclasses.asdict}
    return environment.get_template("MODEL_CARD.md").render(
        **escaped(facts),
        licence=choose_licence(facts["dataset"]),
        tags=TAGS,
        hub_metrics=HUB_METRICS,
        metric_names=METRIC_NAMES,
        decision_metrics=DECISION_METRICS,
        score_metrics=list_score_metrics(run),
        class_metrics=CLASS_METRICS,
        subgroup_names=SUBGROUPS,
        subgroups=", ".join(facts["metrics"].subgroups),
        weights_name=escaped(name_weights(run)),
        published=PUBLISHED if is_tutorial(run) else None,
        best=choose_best_metrics(facts["metrics"]),
        validated=name_cross_validation(facts["metrics"]),
        totals=escaped(_summarize_groups(facts["dataset"].groups)),
        raw=facts,
    )


def choose_licence(dataset: DatasetCard) -> str:
    """Returns Hugging Face's licence id: that of all images, "other" for several, "unknown" if one has none stated."""
    stated = {name for group in dataset.groups for name in group.license}
    if UNKNOWN in stated:
        return "unknown"
    return stated.pop().lower().replace(" ", "-") if len(stated) == 1 else "other"


def _summarize_groups(groups: tuple[Group, ...]) -> dict[str, str]:
    """Texts that several items need: images and ages by group, and the images of all groups by each other fact."""
    result = {
        "images": "; ".join(f"{g.split} {g.class_name}: {_count_images(g)}" for g in groups),
        "age": "; ".join(f"{g.split} {g.class_name}: {_format_ages(g.age)}" for g in groups),
    }
    for name in FACTS:
        counts = sum((Counter(getattr(group, name)) for group in groups), Counter())
        result[name] = ", ".join(f"{value} ({count})" for value, count in counts.most_common())
    return result


def _count_images(group: Group) -> str:
    patients = f" of {group.patients} patients" if group.patients is not None else ", patients unknown"
    return f"{group.images} images{patients}"


def _format_ages(age: Ages) -> str:
    if not age.known:
        return UNKNOWN
    return f"{age.min:.0f} to {age.max:.0f} years, median {age.median:.0f} ({age.known} known)"
