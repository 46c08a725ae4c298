"""Predict all parts that are not done yet, and report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from covid_tfds.common.cores import count_cores
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import refuse_overwriting
from covid_tfds.common.parts import run_parts
from export.bulk.inputs import Images, find_input
from export.bulk.model import load_model
from export.bulk.output import DONE, PREDICTIONS, REQUEST, UNREADABLE, Output
from export.bulk.part import DonePart, PredictPart
from export.runtime.image_files import describe_passed_over


def run(options: argparse.Namespace) -> int:
    """Predict what is not predicted yet.

    Args:
        options: The flags of `python -m export.bulk`.

    Returns:
        Exit code: 0; 1 when some image could not be read or some part failed; 2 when no image could be read.

    Raises:
        UsageError: If the model, the images, the output folder or the scheduler is unusable.
    """
    # A Dask worker runs as many parts at once as it has threads; alone, one part takes every core.
    threads = options.threads or (1 if options.scheduler else count_cores())
    refuse_overwriting("--output", Path(options.output), [Path(options.model), Path(options.input)])
    model = load_model(options.model, threads, options.provider)
    for notice in model.notices:
        print(notice, file=sys.stderr)
    images = find_input(options.input, options.data_dir, options.images_per_part)
    if passed_over := describe_passed_over([Path(options.input)]):
        print(passed_over, file=sys.stderr)
    request = {
        "model": model.sha256,
        "answer_anyway": options.answer_anyway,
        "provider": model.provider,
        "images_per_part": options.images_per_part,
        "images": len(images),
        "input": images.digest,
    }
    # A worker takes the provider that was chosen here; this process has the model already.
    provider = model.provider if options.scheduler else options.provider
    output = Output(options.output)
    with output.held():
        _check_request(output, request)
        count = len(images.parts)
        found = {number: output.read_json(DONE, f"{number:05d}.json") for number in range(count)}
        done = {number: DonePart(**values) for number, values in found.items() if values}
        settings = (options.model, request, output, options.batch_size, threads, provider)
        parts = {
            number: PredictPart(f"{number:05d}-of-{count:05d}", part, *settings)
            for number, part in enumerate(images.parts)
            if number not in done
        }
        failed = _run(images, parts, done, options)
    return _report(output, done, failed, len(images))


def _run(
    images: Images, parts: dict[int, PredictPart], done: dict[int, DonePart], options: argparse.Namespace
) -> list[str]:
    """Run the parts, add what is finished to `done`, and return a line for each part that failed."""
    failed = []
    before = sum(part.images for part in done.values())
    with tqdm(total=len(images), initial=before, unit="image", disable=None) as bar:
        for result in run_parts(parts, options.scheduler, options.patience):
            label = f"part {result.number + 1} of {len(images.parts)}"
            if result.error is not None:
                failed.append(f"{label} failed: {result.error}")
                continue
            part = done[result.number] = DonePart(**result.values)
            bar.update(part.images)
            bar.write(
                f"{label}: {part.images} images, {part.unreadable} unreadable, "
                f"{part.images / part.seconds:.1f} images/s, by {part.worker}"
            )
    return failed


def _check_request(output: Output, request: dict) -> None:
    """Write bulk.json, or raise UsageError when the folder holds the answers to another request."""
    found = output.read_json(REQUEST)
    if found is None:
        if output.has_predictions():
            raise UsageError(f"--output {output.folder} holds files but no {REQUEST}: choose another folder.")
        output.write_json(request, REQUEST)
        return
    for name, value in request.items():
        if found.get(name) != value:
            what = f"another {name}" if name in ("model", "input") else f"{name} {found.get(name)}, not {value}"
            raise UsageError(
                f"--output {output.folder} was started with {what}. Give the same flags, or choose another folder."
            )


def _report(output: Output, done: dict[int, DonePart], failed: list[str], images: int) -> int:
    unreadable = sum(part.unreadable for part in done.values())
    predicted = sum(part.images for part in done.values()) - unreadable
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    declined = sum(part.declined for part in done.values())
    unlike = f", {declined} of them declined" if declined else ""
    why = f", {unreadable} could not be read ({output.path(UNREADABLE)})" if unreadable else ""
    state = f"{len(failed)} parts failed, the same command tries them again" if failed else "Complete"
    print(f"{state}: {predicted} of {images} images in {output.path(PREDICTIONS)}{unlike}{why}")
    return 2 if not predicted else 1 if unreadable or failed else 0
