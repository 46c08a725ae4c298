"""Shortcuts: facts that tell the classes apart without a look at the lungs.

Association is Cramér's V for categories (Cramér 1946; 0 none, 1 complete) and AUROC for numbers (Mann and Whitney 1947;
0.5 none, 1 complete), over the images of which the fact is known. "Right alone" is the accuracy, on these very images,
of the best rule that looks at the one fact only: the commonest class of each category, or of either side of one cut.
"""

import numpy as np
import pandas as pd
from scipy import stats

from covid_tfds.audit.findings import WARNING, Finding

CATEGORIES = ("channels", "format", "source", "view", "sex")
NUMBERS = ("width", "height", "aspect ratio", "age")
# A large effect, and in small folders not by chance either.
STRONG_V = 0.5
STRONG_AUROC = 0.75
SIGNIFICANT = 0.01

NOT_COMPARED = {"measure": None, "association": None, "p": None, "right_alone": None, "strong": False}

# What publishers say of a whole source in their papers, but not of each image.
AGES = {"chest-xray-pneumonia": "children of one to five years (Kermany et al. 2018)"}


def by_class(table: pd.DataFrame, class_names: tuple[str, str]) -> list[dict]:
    """Compare the classes fact by fact.

    Args:
        table: of `pixels.look`.
        class_names: the two labels in it.

    Returns:
        One dict a fact that is known of any image: `fact`; `values`, for each class the images by category, or `known`,
        `min`, `median` and `max`; `measure`, `association`, `p` (of no association; chi-squared or Mann-Whitney) and
        `right_alone` (0 to 1), None where the fact does not vary or one class has none of it; and `strong`, whether the
        association is.
    """
    table = table.assign(**{"aspect ratio": table.width / table.height})
    facts = []
    for fact in (*CATEGORIES, *NUMBERS):
        part = table[known(table[fact])]
        if part.empty:
            continue
        summary, measure = (_range, _of_number) if fact in NUMBERS else (_counts, _of_category)
        can_compare = part[fact].nunique() > 1 and part.label.nunique() > 1
        facts.append(
            {"fact": fact, "values": {name: summary(table.loc[table.label == name, fact]) for name in class_names}}
            | (measure(part[fact], part.label) if can_compare else NOT_COMPARED)
        )
    return facts


def known(values: pd.Series) -> pd.Series:
    """Where a column says something: text that is not empty, numbers that are not NaN."""
    return values.notna() & (values != "")


def findings(table: pd.DataFrame, compared: list[dict]) -> list[Finding]:
    """Warnings about strong associations, and about facts that are known of one class only."""
    return [*_strong(table, compared), *_one_sided(table)]


def _strong(table, compared):
    strong = [cue for cue in compared if cue["strong"]]
    if not strong:
        return []
    message = (
        "The class can be told without a look at the lungs. Labels and split may be sound all the same, so this is a "
        "warning and not invalidating; but a score on these images proves nothing about disease."
    )
    if (pd.crosstab(table.source, table.label) > 0).sum(axis=1).max() == 1 and table.source.nunique() > 1:
        message += (
            " Here it is by construction: no source holds both classes, so whatever differs between the sources gives "
            "the class away, and only other images can mend that, no other split."
        )
    items = [
        {
            "fact": cue["fact"],
            "association": f"{cue['measure']} {cue['association']:.2f}",
            "right alone": f"{cue['right_alone']:.0%}",
        }
        for cue in strong
    ]
    return [Finding(WARNING, "shortcuts", message, items)]


def _one_sided(table):
    items = []
    for fact in ("view", "sex", "age"):
        of_class = known(table[fact]).groupby(table.label).agg(["sum", "size"])
        if of_class["sum"].min() == 0 < of_class["sum"].max():
            items.append({"fact": fact} | {name: f"{row['sum']} of {row['size']}" for name, row in of_class.iterrows()})
    if not items:
        return []
    message = "Stated for one class only, so whether the classes differ in it cannot be checked image by image."
    ages = [f"those of {source} are {age}" for source, age in AGES.items() if (table.source == source).any()]
    if ages:
        message += f" Of the source as a whole the publisher says: {', '.join(ages)}."
    return [Finding(WARNING, "facts known of one class only", message, items)]


def _of_category(values: pd.Series, labels: pd.Series) -> dict:
    counts = pd.crosstab(values, labels)
    association = float(stats.contingency.association(counts, method="cramer"))
    p = float(stats.chi2_contingency(counts, correction=False).pvalue)
    return {
        "measure": "Cramér's V",
        "association": association,
        "p": p,
        "right_alone": float(counts.max(axis=1).sum() / len(values)),
        "strong": association >= STRONG_V and p < SIGNIFICANT,
    }


def _of_number(values: pd.Series, labels: pd.Series) -> dict:
    first = labels == labels.iloc[0]
    test = stats.mannwhitneyu(values[first], values[~first])
    auroc = test.statistic / (first.sum() * (~first).sum())
    association, p = float(max(auroc, 1 - auroc)), float(test.pvalue)
    return {
        "measure": "AUROC",
        "association": association,
        "p": p,
        "right_alone": _best_cut(values.to_numpy(), first.to_numpy()),
        "strong": association >= STRONG_AUROC and p < SIGNIFICANT,
    }


def _best_cut(values: np.ndarray, first: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    below = np.cumsum([first[order], ~first[order]], axis=1)
    # Equal values cannot be cut apart.
    below = below[:, np.append(np.diff(values[order]) > 0, True)]
    above = below[:, -1:] - below
    return float((below.max(axis=0) + above.max(axis=0)).max() / len(values))


def _counts(values: pd.Series) -> dict:
    counts = values.replace("", "not stated").value_counts()
    return dict(sorted(counts.to_dict().items(), key=lambda item: (-item[1], item[0])))


def _range(values: pd.Series) -> dict:
    there = values.dropna()
    middle = {name: float(getattr(there, name)()) if len(there) else None for name in ("min", "median", "max")}
    return {"known": len(there), "of": len(values), **middle}
