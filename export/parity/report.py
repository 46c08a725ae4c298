"""What parity.json holds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnxruntime
import tensorflow as tf

from export.parity.stages import INT8_STAGES, Stage, Stages
from export.run_images import EncodedImage


@dataclass(frozen=True)
class ComparedImages:
    """Names of the images of a parity check.

    Attributes:
        of_the_run: Images of the run.
        made_up: Drawn images.
        calibrated_on: Images of the run that int8 was calibrated on; int8's stages compare the others.
    """

    of_the_run: list[str]
    made_up: list[str]
    calibrated_on: list[str]


@dataclass(frozen=True)
class ParityReport:
    """All of parity.json.

    Attributes:
        verdict: "pass" if every stage but those of int8 passes, else "fail".
        stages: The stages that apply.
        images: Names of the images compared.
        versions: Of the two engines.
        int8: "pass" if every stage of int8 passes, else "fail"; None without --int8.
    """

    verdict: str
    stages: list[Stage]
    images: ComparedImages
    versions: dict[str, str]
    int8: str | None = None


def find_failed(stages: Stages, int8: bool) -> Stage | None:
    """Returns the first stage that failed, of those of int8 or of the others."""
    names = {stage.stage for stage in INT8_STAGES}
    return next((stage for name, stage in stages.items() if (name in names) == int8 and not stage.passed), None)


def make_report(stages: Stages, images: list[EncodedImage], calibrated_on: Collection[str]) -> ParityReport:
    """Returns what parity.json holds."""
    with_int8 = any(stage.stage in stages for stage in INT8_STAGES)
    return ParityReport(
        verdict="fail" if find_failed(stages, int8=False) else "pass",
        int8=("fail" if find_failed(stages, int8=True) else "pass") if with_int8 else None,
        stages=list(stages.values()),
        images=ComparedImages(
            of_the_run=[image.name for image in images if image.probabilities is not None],
            made_up=[image.name for image in images if image.probabilities is None],
            calibrated_on=sorted(calibrated_on),
        ),
        versions={"tensorflow": tf.__version__, "onnxruntime": onnxruntime.__version__},
    )
