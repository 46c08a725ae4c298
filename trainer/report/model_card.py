"""MODEL_CARD.md: a run in Hugging Face's layout, with the TRIPOD+AI and CLAIM items answered. Never TensorFlow.

Collins et al. (2024), TRIPOD+AI statement, BMJ 385: e078378 (27 items). Tejani et al. (2024), Checklist for
Artificial Intelligence in Medical Imaging (CLAIM): 2024 update, Radiology: Artificial Intelligence 6: e240300 (44
items). The items are named in few words of our own; the template answers them from the run's facts, and says "not
done" where a run, or the project, did not do it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import jinja2

from covid_tfds.common.markdown import escaped
from trainer.report.dataset_card import COUNTED, UNKNOWN
from trainer.report.facts import FIGURES, validation_name, words

# Hugging Face's name of each figure, as its leaderboards know it.
HUB_METRICS = {
    "sensitivity": "recall",
    "specificity": "specificity",
    "auroc": "roc_auc",
    "pr_auc": "average_precision",
    "accuracy": "accuracy",
    "brier": "brier_score",
}
TAGS = ("medical-imaging", "chest-x-ray", "covid-19", "vgg16", "education")


def text(facts: dict) -> str:
    """The card of a run as Markdown, from `facts.collect`'s facts."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainer.report"),
        autoescape=False,  # of HTML; `escaped` does it for Markdown
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["words"] = words
    template = environment.get_template("MODEL_CARD.md")
    return template.render(
        **escaped(facts), header=header(facts), figure_names=FIGURES, totals=escaped(_totals(facts["dataset"]))
    )


def header(facts: dict) -> dict:
    """What the card's YAML says: the licence, the dataset if it has a name others know, and the results."""
    name = facts["data"]["name"]
    return {
        "license": licence(facts["dataset"]),
        "tags": TAGS,
        "dataset": name if name.startswith("covid_tfds/") else None,
        "metrics": list(HUB_METRICS.values()),
        "name": f"covid-vgg16-{facts['run_id']}",
        "results": list(_results(facts)),
    }


def licence(dataset: dict | None) -> str:
    """Hugging Face's licence id: of the training images if all have the same one, "unknown" if any has none stated."""
    stated = {name for group in (dataset or {"groups": []})["groups"] for name in group["license"]}
    if not stated or UNKNOWN in stated:
        return "unknown"
    return stated.pop().lower().replace(" ", "-") if len(stated) == 1 else "other"


def _results(facts: dict) -> Iterator[dict]:
    """{"dataset", "split", "metrics"} for each set of images; undefined figures are left out."""
    metrics = facts["metrics"]
    parts = {validation_name(metrics): metrics.get("cross_validation"), "test": metrics["test"]}
    sets = [(facts["data"]["name"], split, figures) for split, figures in parts.items() if figures]
    sets += [(one["name"], "external", one["figures"]) for one in facts["external"]]
    for name, split, figures in sets:
        measured = [
            {"type": kind, "value": round(figures[key]["value"], 4), "name": f"{FIGURES[key]} {words(figures[key])}"}
            for key, kind in HUB_METRICS.items()
            if figures.get(key) and figures[key]["value"] is not None
        ]
        yield {"dataset": name, "split": split, "metrics": measured}


def _totals(dataset: dict | None) -> dict[str, str]:
    """Texts that several items need: images and ages by group, and the whole dataset's images by each other fact."""
    if dataset is None:
        return dict.fromkeys(("images", "age", *COUNTED), "not done")
    groups = dataset["groups"]
    result = {
        "images": "; ".join(f"{g['split']} {g['class']}: {_size(g)}" for g in groups),
        "age": "; ".join(f"{g['split']} {g['class']}: {_age(g['age'])}" for g in groups),
    }
    for name in COUNTED:
        counts = sum((Counter(group[name]) for group in groups), Counter())
        result[name] = ", ".join(f"{value} ({count})" for value, count in counts.most_common())
    return result


def _size(group: dict) -> str:
    patients = f" of {group['patients']} patients" if group["patients"] is not None else ", patients unknown"
    return f"{group['images']} images{patients}"


def _age(age: dict) -> str:
    if not age["known"]:
        return UNKNOWN
    return f"{age['min']:.0f} to {age['max']:.0f} years, median {age['median']:.0f} ({age['known']} known)"
