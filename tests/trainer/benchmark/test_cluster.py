import pytest

from export.file_names import ONNX
from trainer.benchmark import cluster


@pytest.mark.slow
def test_a_row_counts_images_and_parts(exported, phantom_folder):
    row = dict(zip(cluster.HEADER, cluster.measure(exported / ONNX, phantom_folder, 8, workers=0), strict=True))
    assert (row["images"], row["parts"]) == ("20", "3")
    assert float(row["CPU, s"]) > 0
