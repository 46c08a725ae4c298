"""Find what invalidates an evaluation without reading an image; every training does."""

import numpy as np
import pandas as pd

from covid_tfds.audit.checks import check_duplicates, check_labels, check_patients
from covid_tfds.audit.findings import INVALIDATING, Finding
from covid_tfds.examples import Examples


def find_invalidating(examples: Examples) -> list[Finding]:
    """Returns the invalidating findings on labels, and on patients and equal files on both sides of the split."""
    table = tabulate_facts(examples)
    findings = [*check_labels(table), *check_patients(table), *check_duplicates(table, near={})]
    return [finding for finding in findings if finding.severity == INVALIDATING]


def tabulate_facts(examples: Examples) -> pd.DataFrame:
    """Returns `image_id`, `patient_id`, `split`, `sha256`, `label` and the facts of each image, one row an image."""
    columns = {name: getattr(examples, name) for name in ("image_id", "patient_id", "split", "sha256")}
    return pd.DataFrame(columns | {"label": np.asarray(examples.class_names)[examples.labels]} | examples.facts)
