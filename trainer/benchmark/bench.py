"""Size of a benchmark, and the commands that it measures. No TensorFlow at import."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from trainer.benchmark import processes


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        repetitions: How often each command is run. The commands take turns, so that a slow minute of the machine
            slows down all of them.
        epochs: Epochs of the tutorial; trainings take the default number.
        trials: Trials of a search.
        folds: Folds of a search.
        searches: How often the search is run.
        many: Images of a prediction.
        bulk: Images of a bulk prediction.
        sizes: Numbers of images at which growth is measured.
    """

    repetitions: int
    epochs: int
    trials: int
    folds: int
    searches: int
    many: int
    bulk: int
    sizes: tuple[int, ...]


FULL = Scale(repetitions=3, epochs=25, trials=30, folds=5, searches=2, many=200, bulk=2000, sizes=(50, 200, 1000))
QUICK = Scale(repetitions=1, epochs=1, trials=2, folds=2, searches=1, many=10, bulk=20, sizes=(10,))


class Bench:
    """One benchmark's folder, its dataset, and the commands that are measured on it."""

    def __init__(self, folder: Path, scale: Scale, weights: str, manual_dir: str | None):
        self.folder, self.scale, self.weights = folder, scale, weights
        self.log = folder / "errors.log"
        self.count = 0
        self.warm = folder / "warm"  # a feature cache that is filled by the first training
        shared = ["--weights", weights, "--data_dir", str(folder / "data")]
        if manual_dir:
            self.dataset = ["--config", "curated", "--manual_dir", manual_dir, *shared]
        else:
            drawn = [] if scale is FULL else ["--num_examples", "30"]
            self.dataset = ["--config", "phantom", *drawn, *shared]

    def run(self, module: str, *arguments: str, cache: Path | None = None) -> processes.Measurement:
        """Runs a command with the feature cache `cache`, or with an empty one of its own."""
        self.count += 1
        print(f"  {self.count}: {module} {' '.join(arguments)[:60]}", file=sys.stderr, flush=True)
        return processes.run(module, *arguments, cache=cache or self.folder / f"cache{self.count}", log=self.log)

    def train(self, *flags: str, cache: Path | None = None) -> processes.Measurement:
        """Runs a whole training process into a new run folder."""
        return self.run("trainer", *self.dataset, *flags, "--output", str(self.new_output()), cache=cache)

    def run_kernel(self, name: str, images: int, repetitions: int = 1, cache: Path | None = None) -> tuple[dict, float]:
        """Returns what `trainer.benchmark.kernels` measures on so many drawn images, and its peak memory in MiB.

        The images are prepared again for each kernel, once.
        """
        flags = ["--images", str(images), "--repetitions", str(repetitions), "--weights", self.weights]
        flags += ["--data_dir", str(self.folder / f"{name}{images}")]
        result = self.run("trainer.benchmark.kernels", name, *flags, cache=cache)
        return json.loads(result.output.strip().splitlines()[-1]), result.mebibytes

    def new_output(self) -> Path:
        """Returns the run folder of the next training."""
        return self.folder / f"run{self.count + 1}"

    def export_images(self) -> Path:
        """Writes the dataset as files for the tutorial's script, and its first image many times for prediction."""
        import numpy as np
        from PIL import Image

        from trainer.config import from_argv
        from trainer.features.training_set import load_training_set

        examples = load_training_set(from_argv(self.dataset))
        for index, encoded in enumerate(examples.read(np.arange(len(examples)))):
            path = self.folder / "images" / examples.class_names[examples.labels[index]] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded)
        with Image.open(next((self.folder / "images").glob("covid/*"))) as image:
            grey = image.convert("L").resize((512, 448))
        for name, count in (("many", self.scale.many), ("bulk", self.scale.bulk)):
            (self.folder / name).mkdir()
            for index in range(count):
                grey.save(self.folder / name / f"{index:04d}.png")
        return self.folder / "images"
