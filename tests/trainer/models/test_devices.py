import os
import subprocess
import sys
from pathlib import Path

import pytest

from covid_tfds.common import cores

CODE = """
import sys
import tensorflow as tf
from trainer.config import from_argv
from trainer.models.devices import configure_devices, name_device
workers = configure_devices(from_argv(sys.argv[1:]))
print(workers, tf.config.threading.get_intra_op_parallelism_threads(), name_device())
"""


@pytest.mark.parametrize(
    ("flags", "workers", "threads_of_an_operation"),
    [(["--threads", "3"], 3, 1), (["--threads", "3", "--recipe", "tutorial"], 1, 3), (["--device", "cpu"], None, 1)],
)
def test_passes_run_side_by_side_with_one_thread_each(flags, workers, threads_of_an_operation):
    argv = [sys.executable, "-c", CODE, "--demo", *flags]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout.split() == [str(workers or cores.count_cores()), str(threads_of_an_operation), "CPU"]


def test_two_hardware_threads_of_one_core_count_once(tmp_path, monkeypatch):
    for thread in range(4):
        (tmp_path / f"cpu{thread}").write_text(f"{thread // 2 * 2}-{thread // 2 * 2 + 1}\n")
    monkeypatch.setattr(cores, "TOPOLOGY", str(tmp_path / "cpu{}"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert cores.count_cores() == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 9}, raising=False)
    assert cores.count_cores() == 2


def test_a_gpu_is_used_and_gives_nearly_the_same(tmp_path):
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU here")
    import numpy as np

    from trainer.features import forward
    from trainer.models import vgg16

    network = vgg16.load_backbone("random", 42)
    images = tf.random.stateless_uniform((2, 224, 224, 3), (1, 2), 0, 255)
    answers = []
    for device in ("CPU:0", "GPU:0"):
        with tf.device(device):
            _, run = forward.build_forward(network, "float32", "caffe", frozen=False)
            answers.append([array.numpy() for array in run(images)])
        forward.build_forward.cache_clear()
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(one).max())
