"""What the tests share: one seed, and the real radiographs when they are there."""

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.once import make_once

SEED = 42

# A test run that a script has started in the background ignores Ctrl-C, and so would the commands that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def seed():
    """Seed every generator that a library could draw from; TensorFlow only where a test has imported it."""
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002  (Keras and scikit-learn draw from it)


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder that all processes of this test run have in common: what costs much is made there once."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the process's own lies in that of the whole run
    (folder / "shared").mkdir(exist_ok=True)
    return folder / "shared"


@pytest.fixture(scope="session")
def manual_dir() -> Path:
    """The folder with the real radiographs, laid out as covid_tfds/README.md says."""
    return _get_path("COVID_TFDS_MANUAL_DIR", "no real radiographs to test on")


@pytest.fixture(scope="session")
def other_views() -> Path:
    """The folder with lateral views and CT slices and their list.csv, as `trainer.benchmark.typicality` reads it."""
    return _get_path("COVID_TFDS_OTHER_VIEWS", "no lateral views and CT slices to test on")


def _get_path(variable: str, lack: str) -> Path:
    """What an environment variable names; the test is skipped where it is not set."""
    if not (given := os.environ.get(variable)):
        pytest.skip(f"{variable} is not set: {lack}")
    return Path(given)


@pytest.fixture
def publisher(monkeypatch, tmp_path):
    """A local server in place of GitHub, Kaggle and Mendeley, with timeouts to match and nothing on offer yet."""
    from covid_tfds.sources import downloads, network
    from tests.fakes.publisher import Publisher

    with Publisher() as server:
        monkeypatch.setattr(network, "ALLOWED_ADDRESSES", (server.address,))
        monkeypatch.setattr(downloads, "GITHUB", f"{server.address}/github")
        monkeypatch.setattr(downloads, "KAGGLE", f"{server.address}/kaggle")
        monkeypatch.setattr(downloads, "MENDELEY", f"{server.address}/mendeley.zip")
        monkeypatch.setattr(network, "READ_SECONDS", 0.3)
        monkeypatch.setattr(network, "BACKOFF_SECONDS", 0)
        monkeypatch.setattr(downloads, "KAGGLE_FILE_SECONDS", 5)
        monkeypatch.setattr("kagglesdk.kaggle_http_client.get_endpoint", lambda env: server.address)
        monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
        for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        yield server


@pytest.fixture(scope="session")
def drawn_images():
    """Ten drawn radiographs, five a class in turn, as Pillow images."""
    from PIL import Image

    from covid_tfds import phantom

    return [Image.fromarray(phantom.draw(index).image) for index in range(10)]


@pytest.fixture(scope="session")
def phantom_folder(shared) -> Path:
    """Ten small drawn radiographs a class in the layout that --dataset takes. Not to be changed."""
    from PIL import Image

    from covid_tfds import phantom

    folder = shared / "phantom_folder"

    def make() -> None:
        for index in range(20):
            drawn = phantom.draw(index)
            path = folder / drawn.label / f"{drawn.image_id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn.image).resize((112, 96)).save(path)

    make_once(shared, "phantom_folder", make)
    return folder


@pytest.fixture(scope="session")
def data_dir(shared) -> Path:
    """Where prepared datasets lie: each is built for the first test that reads it."""
    return shared / "tensorflow_datasets"


@pytest.fixture(scope="session", autouse=True)
def own_caches(shared):
    """Keep the features that tests compute out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        yield


@pytest.fixture(scope="session")
def train(shared, data_dir, own_caches):
    """`python -m trainer` with an untrained backbone, once for all tests: name, flags -> run folder."""

    def train(name: str, *flags: str) -> Path:
        from trainer.__main__ import main

        output = shared / "runs" / name
        weights = [] if "--demo" in flags else ["--weights", "random"]
        argv = [*flags, *weights, "--data_dir", str(data_dir), "--output", str(output)]
        make_once(shared, f"run {name}", lambda: _succeed(main(argv)))
        return output

    return train


@pytest.fixture(scope="session")
def imagenet_weights() -> Path:
    """The file with VGG16's ImageNet weights."""
    return _get_path("COVID_TFDS_WEIGHTS", "no trained backbone to test with")


@pytest.fixture(scope="session")
def train_imagenet(shared, data_dir, own_caches, imagenet_weights, manual_dir):
    """`python -m trainer --config CONFIG` with ImageNet weights, once for all tests: config, flags -> run folder."""

    def train(config: str, *flags: str) -> Path:
        from trainer.__main__ import main

        name = "_".join(["imagenet", config, *flags])
        output = shared / "runs" / name
        argv = ["--config", config, *flags, "--manual_dir", str(manual_dir), "--weights", str(imagenet_weights)]
        argv += ["--data_dir", str(data_dir), "--output", str(output)]
        make_once(shared, f"run {name}", lambda: _succeed(main(argv)))
        return output

    return train


def _succeed(code: int) -> None:
    assert code == 0


@pytest.fixture(scope="session")
def small_run(train, phantom_folder) -> Path:
    """The run folder of a training on `phantom_folder`. Not to be changed."""
    return train("small", "--dataset", str(phantom_folder), "--epochs", "4")


@pytest.fixture(scope="session")
def three_class_run(train) -> Path:
    """The run folder of a training on 30 drawn images of three classes. Not to be changed."""
    return train("three", "--demo", "--config", "phantom_three_classes", "--num_examples", "30", "--epochs", "4")


@pytest.fixture(scope="session")
def demo_run(train) -> Path:
    """The run folder of `python -m trainer --demo`. Not to be changed."""
    return train("demo", "--demo")


@pytest.fixture(scope="session")
def curated_run(train, manual_dir) -> Path:
    """The run folder of a training on the real radiographs of `curated`. Not to be changed."""
    return train("curated", "--config", "curated", "--manual_dir", str(manual_dir))


@pytest.fixture(scope="session")
def trained_run(shared, own_caches) -> Path:
    """A run folder with a small, unsaturated head, trained on 30 drawn radiographs of all kinds. Not to be changed."""
    from tests.fakes import trained_run

    folder = shared / "trained"
    make_once(
        shared,
        "trained_run",
        lambda: trained_run.make_run(folder / "run", trained_run.make_dataset(folder / "radiographs")),
    )
    return folder / "run"


@pytest.fixture(scope="session")
def exported(shared, trained_run) -> Path:
    """Its export with int8 and page, by the command itself; parity on a part of the images to save time."""
    from export import __main__, exporting

    def make() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporting, "MAX_RUN_IMAGES", 8)
            patch.setattr(__main__, "get_runtime", lambda _: {"no_runtime.mjs": b""})  # that would need a network
            assert __main__.main([str(trained_run), "--int8", "--web"]) == 0

    make_once(shared, "exported", make)
    return trained_run / "export"


@pytest.fixture
def wanted():
    """Three rows of each source with their made-up bytes."""
    from covid_tfds.sources import manifest
    from tests.fakes.publisher import disguise

    rows = manifest.read_manifest("curated")
    return disguise(rows[:3] + rows[-3:])


@pytest.fixture
def offered(publisher, wanted):
    """The publisher with everything in place, except on Kaggle."""
    from tests.fakes.publisher import Reply, github_path, zipped

    rows, images = wanted
    for row in rows[:3]:
        publisher.replies[github_path(row)] = Reply(images[row.image_id])
    publisher.replies["/mendeley.zip"] = Reply(zipped(rows[3:], images), ranges=True)
    return publisher


@pytest.fixture(scope="session")
def tiny():
    """A frozen network with VGG16's layer names and almost no arithmetic."""
    from tests.fakes import small_network
    from trainer.features.backbone_features import Backbone

    return Backbone(small_network.backbone(), "small")


@pytest.fixture
def quick(monkeypatch):
    """Trials of a search that take no time, their result made up from the recipe; gives the recipes that were run."""
    from tests.fakes.two_classes import log_p
    from trainer.tuning import trials

    ran = []

    def run(problem, recipe, on_progress):
        ran.append(recipe)
        random = np.random.default_rng([recipe.epochs, recipe.units, int(recipe.learning_rate * 1e6)])
        odds = random.normal(np.where(problem.held_out.truth[:, 0], 0.5, -0.5), 1.0)
        return trials.TrialResult(recipe, log_p(odds), None, 0.0), []

    monkeypatch.setattr(trials, "run_trial", run)
    for name in ("tensorboard.write_trial", "plots.draw_search", "search.save"):
        monkeypatch.setattr(f"trainer.tuning.{name}", lambda *_: None)
    return ran
