"""Read a user's own folders and tables of images as `Examples`. No TensorFlow.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as name:
    ...     for image_id in ("covid/a.png", "normal/b.png"):
    ...         Path(name, image_id).parent.mkdir()
    ...         _ = Path(name, image_id).write_bytes(image_id.encode())
    ...     examples = read_dataset(DatasetRequest(dataset=name))
    ...     list(examples.read(np.array([1, 0])))
    [b'normal/b.png', b'covid/a.png']
    >>> examples.class_names, examples.layout, examples.patients_known
    (('covid', 'normal'), 'flat: <class>', False)
"""

from __future__ import annotations

from covid_tfds.examples import DatasetRequest, Examples
from covid_tfds.layouts.reading import to_examples
from covid_tfds.layouts.recognize import recognize
from covid_tfds.layouts.summary import describe_examples

__all__ = ["describe_examples", "read_dataset"]


def read_dataset(request: DatasetRequest) -> Examples:
    """Reads the folder or table that `request.dataset` names. Each file is read once for its hash, none is decoded.

    Returns:
        The images sorted by class and name. They have a split only where the dataset comes with one.

    Raises:
        UsageError: If the layout is not recognized, a file can't be read, or an image has no patient in patients.csv.
    """
    return to_examples(recognize(request), request)
