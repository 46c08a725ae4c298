"""Compare measures of how typical an image is: on unseen radiographs, and on images that should be declined.

    python -m trainer.benchmark.typicality --manual_dir DIR --weights FILE --other_views OTHER   # about 5 minutes
    python -m trainer.benchmark.typicality --weights random                                      # drawn, a minute

The measures are fitted to the training split of a builder config. Unseen are its test split, and the other configs'
images of other patients. OTHER is a folder with a `list.csv` of images that are no frontal radiographs (columns `file`
and `modality`: "CT", or lateral views). Prints Markdown tables and writes the numbers to --output.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_tfds.common import cli, logs, progress
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import to_json, write_json
from covid_tfds.common.markdown import format_table
from covid_tfds.examples import DatasetRequest, Examples
from trainer.benchmark.typicality_measures import MEASURES, compile_vectors

CONFIGS = ("curated", "source_matched", "as_published")
OWN, SAME_SOURCE, OTHER_SOURCE = "own test split", "other dates and hospitals", "source not trained on"


@dataclass(frozen=True)
class Image:
    """The vectors of one image.

    Attributes:
        kind: "" for a radiograph as it is, else the change that was made, or the kind of another image.
        row: Row of the radiograph that it was made from; -1 for an image that is no radiograph of the datasets.
        vectors: By name.
    """

    kind: str
    row: int
    vectors: dict[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    """How one measure, fitted to one config, treats one kind of images.

    Attributes:
        config: The config whose training split is the reference.
        measure: Name of the measure.
        kind: Of the images.
        images: Number of images.
        declined: Share declined.
        auroc: Of the distance, against all unseen radiographs; None for these themselves.
    """

    config: str
    measure: str
    kind: str
    images: int
    declined: float
    auroc: float | None


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code, see `cli.run_command`."""
    return cli.run_command(argv, parser().parse_args, _run, lambda _: "Stopped. Nothing is written.")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    result = cli.Parser(prog="python -m trainer.benchmark.typicality", description=__doc__.split("\n\n")[0])
    result.add_argument(
        "--manual_dir", metavar="DIR", help="folder with copies of the real radiographs (default: drawn ones are used)"
    )
    result.add_argument(
        "--weights", default="imagenet", help="backbone weights, as for `python -m trainer` (default: %(default)s)"
    )
    result.add_argument("--other_views", type=Path, metavar="OTHER", help="folder with lateral views and CT slices")
    result.add_argument("--data_dir", metavar="DIR", help="folder of the prepared TFDS datasets (default: TFDS's own)")
    result.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default="typicality.json",
        help="JSON file to write (default: %(default)s)",
    )
    return result


def _run(options: argparse.Namespace) -> None:
    if options.output.exists():
        raise UsageError(f"--output {options.output} exists and is never overwritten: choose another name.")
    with logs.silenced():
        from covid_tfds.datasets import load_examples
        from trainer.features.backbone_features import Backbone
    configs = CONFIGS if options.manual_dir else ("phantom",)
    shared = {"manual_dir": options.manual_dir, "data_dir": options.data_dir}
    datasets = {name: load_examples(DatasetRequest(config=name, **shared)) for name in configs}
    others = list(read_other_views(options.other_views)) if options.other_views else []
    results = compare_measures(Backbone.load(options.weights, seed=42).network, datasets, others)
    for config in configs:
        print(f"\nTrained on `{config}`: AUROC against unseen radiographs / share declined\n")
        print(tabulate([result for result in results if result.config == config]))
    write_json(options.output, to_json([dataclasses.asdict(result) for result in results]))


def read_other_views(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields kind and pixels, uint8 [height, width, 3], of the images that a folder's list.csv names."""
    from covid_tfds.imaging.reader import read_image

    with (folder / "list.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield "CT" if row["modality"] == "CT" else "lateral", read_image(folder / row["file"]).pixels


def compare_measures(network, datasets: dict[str, Examples], others: list[tuple[str, np.ndarray]]) -> list[Result]:
    """Returns one result for each dataset, measure and kind of images.

    Args:
        network: VGG16 or a network with its layer names, a Keras model.
        datasets: Examples by name, with their splits.
        others: Kind and pixels of further images, which should be declined.
    """
    from sklearn.datasets import load_sample_images

    others = others + [("photograph", photograph) for photograph in load_sample_images().images]
    whole = {str(key): (examples, row) for examples in datasets.values() for row, key in enumerate(examples.sha256)}
    images = list(_measure_images(network, list(whole.values()), others))
    place = {key: number for number, key in enumerate(whole)}
    results = []
    for config, examples in datasets.items():
        train, kinds = find_unseen(config, datasets, place)
        unseen = np.concatenate(list(kinds.values()))
        rows = np.asarray([image.row for image in images])
        kind_of = np.asarray([image.kind for image in images])
        original = np.flatnonzero(kind_of == "")
        groups = {kind: original[chosen] for kind, chosen in kinds.items() if len(chosen)}
        for kind in dict.fromkeys(kind_of[kind_of != ""]):
            groups[kind] = np.flatnonzero((kind_of == kind) & (np.isin(rows, unseen) | (rows < 0)))
        patients = np.unique(examples.groups[examples.rows("train")], return_inverse=True)[1]
        for measure in MEASURES:
            vectors = np.stack([image.vectors[measure.vectors] for image in images])
            level, measured = measure.fit(vectors[original[train]], patients)
            distance, typicality = measured(vectors)
            known = distance[original[unseen]]
            for kind, chosen in groups.items():
                declined = float(np.mean(typicality[chosen] <= level * (1 + 1e-4)))
                auroc = None if kind in kinds else _auroc(known, distance[chosen])
                results.append(Result(config, measure.name, kind, len(chosen), declined, auroc))
    return results


def find_unseen(
    config: str, datasets: dict[str, Examples], place: dict[str, int]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the places of a config's training images, and of unseen radiographs by where they come from.

    Args:
        config: Name of the config.
        datasets: Examples by name, with their splits.
        place: Place of each radiograph by its hash.
    """
    examples = datasets[config]
    train = examples.rows("train")
    sources = set(examples.facts["source"][train])
    unseen: dict[str, dict[int, None]] = {OWN: {}, SAME_SOURCE: {}, OTHER_SOURCE: {}}
    for row in examples.rows("test"):
        unseen[OWN][place[str(examples.sha256[row])]] = None
    for other in datasets.values():
        is_new = ~np.isin(other.groups, examples.groups) & ~np.isin(other.sha256, examples.sha256)
        for row in np.flatnonzero(is_new):
            kind = SAME_SOURCE if other.facts["source"][row] in sources else OTHER_SOURCE
            unseen[kind][place[str(other.sha256[row])]] = None
    at_train = np.asarray([place[str(key)] for key in examples.sha256[train]])
    return at_train, {kind: np.fromiter(rows, dtype=np.int64) for kind, rows in unseen.items()}


def _measure_images(
    network, radiographs: list[tuple[Examples, int]], others: list[tuple[str, np.ndarray]]
) -> Iterator[Image]:
    """Yields each radiograph as it is (kind "") and changed, then the other images."""
    from covid_tfds.imaging.reader import decode_raster
    from covid_tfds.phantom.changes import CHANGES

    compute = compile_vectors(network)
    with progress.Line(len(radiographs), "radiographs", "image") as line:
        for row, (examples, index) in enumerate(radiographs):
            (encoded,) = examples.read(np.asarray([index]))
            pixels = decode_raster(encoded)
            yield Image("", row, compute(pixels))
            for kind, change in CHANGES.items():
                yield Image(kind, row, compute(change(pixels)))
            line.advance()
    for kind, pixels in others:
        yield Image(kind, -1, compute(pixels))


def _auroc(unseen: np.ndarray, other: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    is_other = np.repeat([False, True], [len(unseen), len(other)])
    return float(roc_auc_score(is_other, np.concatenate([unseen, other])))


def tabulate(results: list[Result]) -> str:
    """Returns a Markdown table of one config's results: a line for each kind, a column for each measure."""
    measures = dict.fromkeys(result.measure for result in results)
    lines: dict[str, list[str]] = {}
    for result in results:
        auroc = "" if result.auroc is None else f"{result.auroc:.2f} / "
        line = lines.setdefault(result.kind, [f"{result.kind} ({result.images})"])
        line.append(f"{auroc}{100 * result.declined:.0f} %")
    return format_table(("images", *measures), lines.values())


if __name__ == "__main__":
    sys.exit(main())
