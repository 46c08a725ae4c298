"""Find shortcuts: facts that separate the classes without the lungs.

Association is Cramér's V for categories (Cramér 1946; 0 none, 1 complete) and AUROC for numbers (Mann and Whitney 1947;
0.5 none, 1 complete; of more than two classes that of the one which differs most from the others), over the images for
which the fact is known. "Right alone" is the accuracy, on these very images, of the best rule that uses this one fact
only: the most common class of each category, or of either side of one cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from covid_tfds.audit.findings import WARNING, Finding

CATEGORIES = ("channels", "format", "source", "view", "sex")
NUMBERS = ("width", "height", "aspect ratio", "age", "year")
# A large effect, and in small folders not by chance either.
STRONG_V = 0.5
STRONG_AUROC = 0.75
SIGNIFICANT = 0.01
# What publishers say of a whole source in their papers, but not of each image.
AGES = {"chest-xray-pneumonia": "children of one to five years (Kermany et al. 2018)"}


@dataclass(frozen=True)
class Comparison:
    """How the classes differ in one fact.

    Attributes:
        fact: One of CATEGORIES or NUMBERS.
        values: For each class the number of images by category, or `known`, `of`, `min`, `median` and `max`.
        measure: "Cramér's V" or "AUROC"; this and what follows are None where the fact does not vary or is known of
            one class only.
        association: Value of the measure.
        p: P value of no association, by the chi-squared or the Mann-Whitney test.
        right_alone: Accuracy of the best rule that uses this fact only, 0 to 1.
        strong: Whether the association is large and not by chance.
    """

    fact: str
    values: dict[str, dict]
    measure: str | None
    association: float | None
    p: float | None
    right_alone: float | None
    strong: bool

    def describe(self) -> dict[str, str]:
        """Returns what was measured as two cells of a table."""
        if self.association is None or self.right_alone is None:
            return {"association": "-", "right alone": "-"}
        return {"association": f"{self.measure} {self.association:.2f}", "right alone": f"{self.right_alone:.0%}"}


def compare_classes(table: pd.DataFrame, class_names: Sequence[str]) -> list[Comparison]:
    """Compare the classes in every fact that is known of any image.

    Args:
        table: Of `pixels.describe_images`.
        class_names: The labels in it.
    """
    table = table.assign(**{"aspect ratio": table.width / table.height})
    comparisons = []
    for fact in (fact for fact in (*CATEGORIES, *NUMBERS) if fact in table):
        known = table[is_known(table[fact])]
        if known.empty:
            continue
        summarize, measure = (_summarize_numbers, _measure_number) if fact in NUMBERS else (_count, _measure_category)
        values = {name: summarize(table.loc[table.label == name, fact]) for name in class_names}
        is_comparable = known[fact].nunique() > 1 and known.label.nunique() > 1
        measured = measure(known[fact], known.label) if is_comparable else (None, None, None, None, False)
        comparisons.append(Comparison(fact, values, *measured))
    return comparisons


def is_known(values: pd.Series) -> pd.Series:
    """Returns where a column says something: text that is not empty, numbers that are not NaN."""
    return values.notna() & (values != "")


def check_shortcuts(table: pd.DataFrame, comparisons: list[Comparison]) -> list[Finding]:
    """Warn of strong associations, and of facts that are known of one class only."""
    return [*_check_strong(table, comparisons), *_check_one_sided(table)]


def _check_strong(table: pd.DataFrame, comparisons: list[Comparison]) -> list[Finding]:
    strong = [comparison for comparison in comparisons if comparison.strong]
    if not strong:
        return []
    facts = ", ".join(comparison.fact for comparison in strong)
    message = (
        f"These facts separate the classes without the lungs: {facts}. Labels and split may be sound all the same, so "
        "this is a warning and not invalidating; but a score on these images proves nothing about disease."
    )
    if (pd.crosstab(table.source, table.label) > 0).sum(axis=1).max() == 1 and table.source.nunique() > 1:
        message += (
            " Here it is by construction: no source holds both classes, so whatever differs between the sources gives "
            "the class away. Only other images can change that, no other split."
        )
    items = [{"fact": comparison.fact, **comparison.describe()} for comparison in strong]
    return [Finding(WARNING, "shortcuts", message, items)]


def _check_one_sided(table: pd.DataFrame) -> list[Finding]:
    items = []
    for fact in ("view", "sex", "age"):
        of_class = is_known(table[fact]).groupby(table.label).agg(["sum", "size"])
        if of_class["sum"].min() == 0 < of_class["sum"].max():
            items.append({"fact": fact} | {name: f"{row['sum']} of {row['size']}" for name, row in of_class.iterrows()})
    if not items:
        return []
    message = "Stated for one class only, so whether the classes differ in it cannot be checked image by image."
    ages = [f"those of {source} are {age}" for source, age in AGES.items() if (table.source == source).any()]
    if ages:
        message += f" Of the source as a whole the publisher says: {', '.join(ages)}."
    return [Finding(WARNING, "facts known of one class only", message, items)]


def _measure_category(values: pd.Series, labels: pd.Series) -> tuple[str, float, float, float, bool]:
    counts = pd.crosstab(values, labels)
    association = float(stats.contingency.association(counts, method="cramer"))
    p = float(stats.chi2_contingency(counts, correction=False).pvalue)
    right_alone = float(counts.max(axis=1).sum() / len(values))
    return "Cramér's V", association, p, right_alone, association >= STRONG_V and p < SIGNIFICANT


def _measure_number(values: pd.Series, labels: pd.Series) -> tuple[str, float, float, float, bool]:
    names = list(labels.unique())
    tests = [_compare_with_others(values, labels == name) for name in (names if len(names) > 2 else names[:1])]
    association, p = max(tests)
    right_alone = _accuracy_of_best_cut(values.to_numpy(), np.stack([labels == name for name in names]))
    return "AUROC", association, p, right_alone, association >= STRONG_AUROC and p < SIGNIFICANT


def _compare_with_others(values: pd.Series, is_class: pd.Series) -> tuple[float, float]:
    """AUROC, 0.5 to 1, and p value of one class against the others."""
    test = stats.mannwhitneyu(values[is_class], values[~is_class])
    auroc = test.statistic / (is_class.sum() * (~is_class).sum())
    return float(max(auroc, 1 - auroc)), float(test.pvalue)


def _accuracy_of_best_cut(values: np.ndarray, is_class: np.ndarray) -> float:
    """values: float [n]; is_class: bool [classes, n]."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(is_class[:, order], axis=1)
    # Equal values can't be cut apart.
    below = below[:, np.append(np.diff(values[order]) > 0, True)]
    above = below[:, -1:] - below
    return float((below.max(axis=0) + above.max(axis=0)).max() / len(values))


def _count(values: pd.Series) -> dict:
    counts = values.replace("", "not stated").value_counts()
    return dict(sorted(counts.to_dict().items(), key=lambda item: (-item[1], item[0])))


def _summarize_numbers(values: pd.Series) -> dict:
    known = values.dropna()
    summary = {name: float(getattr(known, name)()) if len(known) else None for name in ("min", "median", "max")}
    return {"known": len(known), "of": len(values), **summary}
