"""Find or fetch the images of a builder config. Each is verified by SHA-256, whatever route it took.

1. The user's own copies (`manual_dir.py`).
2. What an earlier, perhaps interrupted, build has left in the download folder.
3. The publishers (`downloads.py`).

TFDS's own `dl_manager.download` is not used: it can take neither members out of a remote zip nor single files from
Kaggle, has no timeout, and without a network needs four minutes and hundreds of log lines to say so. The manifests
hold the size and SHA-256 of every image, so that a checksums.tsv would only repeat them.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tqdm.auto import tqdm

from covid_tfds.common.errors import SourceError
from covid_tfds.sources import downloads, integrity, manual_dir
from covid_tfds.sources.manifest import Row


def locate_images(name: str, rows: Sequence[Row], download_dir: Path, user_dir: Path | None = None) -> dict[str, Path]:
    """Find or fetch every image.

    Args:
        name: Of the dataset, for messages: `covid_tfds/curated`.
        rows: The images wanted.
        download_dir: Where images that are not plain files of the user are kept.
        user_dir: The user's folder, or None; only read.

    Returns:
        `{image_id: file}` with a verified file for every row.

    Raises:
        SourceError: If an image can't be fetched; says which and why. What was fetched before stays in `download_dir`.
    """
    folder = download_dir / "covid_tfds"
    files: dict[str, Path] = {}
    with tqdm(total=sum(row.bytes for row in rows), desc=f"{name}: images", unit="B", unit_scale=True) as progress:

        def add(row: Row, file: Path) -> None:
            files[row.image_id] = file
            progress.update(row.bytes)

        def keep(row: Row, data: bytes, origin: str) -> None:
            add(row, integrity.save_image(row, data, folder, origin))

        def missing() -> list[Row]:
            return [row for row in rows if row.image_id not in files]

        if user_dir:
            for row, file in manual_dir.find_files(rows, user_dir):
                add(row, file)
        for row in missing():
            kept = integrity.kept_path(row, folder)
            if kept.is_file() and not integrity.find_difference(row, kept.read_bytes()):
                add(row, kept)
        if user_dir:
            manual_dir.read_archives(missing(), user_dir, keep)
        failures = downloads.fetch_images(missing(), keep)

    if missing():
        raise SourceError(_explain(name, rows, missing(), failures))
    return files


def _explain(name: str, rows: Sequence[Row], missing: Sequence[Row], failures: dict[str, str]) -> str:
    wanted = defaultdict(list)
    for row in rows:
        wanted[row.source].append(row)
    lacking = defaultdict(list)
    for row in missing:
        lacking[row.source, failures[row.image_id]].append(row)

    lines = [f"{name}: {len(missing)} of its {len(rows)} images cannot be fetched:"]
    for (source, reason), group in lacking.items():
        if len(group) == len(wanted[source]):
            lines.append(f"- all {len(group)} images of {source}: {reason}")
        else:
            lines.append(f"- {', '.join(row.path for row in group)} of {source}: {reason}")
    lines.append(
        "Run the same command again later (what came is kept), or give your own copies with --manual_dir DIR "
        "(layouts: covid_tfds/MANUAL.md), or build the drawn radiographs: tfds build covid_tfds --config phantom"
    )
    return "\n".join(lines)
