"""The command `python -m covid_tfds.audit`: what it says of the real configs and of folders, and how it refuses."""

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from covid_tfds import phantom
from covid_tfds.audit import pairs
from covid_tfds.audit.__main__ import main
from covid_tfds.audit.findings import INVALIDATING, WARNING
from covid_tfds.sources import manifest

ROOT = Path(__file__).parents[3]


def invalidating(folder):
    content = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    findings = {finding["check"]: finding for finding in content["findings"]}
    return content, {check for check, finding in findings.items() if finding["severity"] == INVALIDATING}, findings


def test_as_published(manual_dir, data_dir, tmp_path, capsys):
    arguments = ["--config", "as_published", "--manual_dir", str(manual_dir), "--data_dir", str(data_dir)]
    assert main([*arguments, "--output", str(tmp_path / "audit")]) == 1
    content, wrong, findings = invalidating(tmp_path / "audit")
    assert wrong == {"label against finding", "patients on both sides"}

    rows = manifest.read_manifest("as_published")
    mislabelled = {row.image_id for row in rows if row.path.rpartition("/")[2].startswith("person")}
    assert len(mislabelled) == 18
    assert {item["image_id"] for item in findings["label against finding"]["items"]} == mislabelled
    sides = [{row.patient_id for row in rows if row.split == split} for split in ("train", "test")]
    leaking = {item["patient_id"] for item in findings["patients on both sides"]["items"]}
    assert leaking == sides[0] & sides[1] == {"ieee8023-4", "ieee8023-6", "ieee8023-13"}

    channels = next(fact for fact in content["by_class"] if fact["fact"] == "channels")
    assert channels["values"] == {"covid": {"3": 24, "1": 1}, "normal": {"1": 23, "3": 2}}
    assert channels["right_alone"] == 0.94
    assert "NOT VALID: 2 findings" in capsys.readouterr().out


@pytest.mark.parametrize("config", ["phantom", "curated", "source_matched"])
def test_nothing_invalidating_in_the_other_configs(config, request, data_dir, tmp_path, capsys):
    arguments = ["--config", config, "--data_dir", str(data_dir), "--output", str(tmp_path / "audit")]
    if config != "phantom":
        arguments += ["--manual_dir", str(request.getfixturevalue("manual_dir"))]
    assert main(arguments) == 0
    _, wrong, findings = invalidating(tmp_path / "audit")
    assert wrong == set()
    assert not [check for check in findings if "duplicates" in check]
    assert ("shortcuts" in findings) == (config == "curated")
    assert ("views corrected by the publisher" in findings) == (config == "curated")
    assert ("missing licences" in findings) == (config != "phantom")
    assert "No finding invalidates" in capsys.readouterr().out


@pytest.fixture
def folder(drawn_images, tmp_path):
    """The images in the layout of --dataset."""
    for index, image in enumerate(drawn_images):
        file = tmp_path / "hospital" / phantom.LABELS[index % 2] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file)
    return tmp_path / "hospital"


def test_a_folder(folder, tmp_path, capsys):
    assert main(["--dataset", str(folder), "--output", str(tmp_path / "audit")]) == 0
    content, _, findings = invalidating(tmp_path / "audit")
    assert findings == {}
    assert content["images"] == 10
    assert content["groups"] == [{"class": "covid", "images": 5}, {"class": "normal", "images": 5}]
    assert any("splits" in words for words in content["not_checked"])
    assert "patients.csv" in capsys.readouterr().out


def test_a_folder_with_an_image_twice_shows_the_pair(folder, drawn_images, tmp_path):
    drawn_images[0].save(folder / "normal" / "copy.jpg", quality=60)
    drawn_images[2].save(folder / "covid" / "copy.jpg", quality=60)
    assert main(["--dataset", str(folder), "--output", str(tmp_path / "audit")]) == 1
    _, wrong, findings = invalidating(tmp_path / "audit")
    assert wrong == {"near-duplicates under two labels"}
    assert findings["near-duplicates under two labels"]["items"][0]["images"] == ["covid/0.png", "normal/copy.jpg"]
    assert findings["near-duplicates within a class"]["severity"] == WARNING
    text = (tmp_path / "audit" / "audit.md").read_text(encoding="utf-8")
    drawings = sorted(file.name for file in (tmp_path / "audit").glob("*.png"))
    assert len(drawings) == 2
    assert all(f"({name})" in text for name in drawings)


def test_patients_csv_says_whose_images_they_are(folder, tmp_path):
    files = sorted(file.relative_to(folder).as_posix() for file in folder.glob("*/*.png"))
    table = pd.DataFrame({"path": files, "patient_id": ["both", *"12345678", "both"]})
    table.to_csv(folder / "patients.csv", index=False)
    assert main(["--dataset", str(folder), "--output", str(tmp_path / "audit")]) == 0
    content, _, findings = invalidating(tmp_path / "audit")
    assert content["patients"] == 9
    assert findings["patients in both classes"]["items"] == [{"patient_id": "both", "covid": 1, "normal": 1}]


def test_bad_usage_is_one_line_and_leaves_nothing(folder, tmp_path, capsys):
    def refused(*arguments):
        before = sorted(tmp_path.rglob("*"))
        assert main([*arguments]) == 2
        assert sorted(tmp_path.rglob("*")) == before
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.count("\n") == 1
        return output.err

    new = ("--output", str(tmp_path / "audit"))
    assert "no such folder" in refused("--dataset", str(tmp_path / "typo"), *new)
    assert "no such folder" in refused("--manual_dir", str(tmp_path / "typo"), *new)
    assert "images outside" in refused("--dataset", str(folder / "covid"), *new)
    assert "exists" in refused("--dataset", str(folder), "--output", str(folder))
    in_a_file = folder / "covid" / "0.png" / "audit"
    assert "0.png" in refused("--dataset", str(folder), "--output", str(in_a_file))
    (folder / "patients.csv").write_text("file,who\n")
    assert "path,patient_id" in refused("--dataset", str(folder), *new)
    (folder / "patients.csv").write_text("path,patient_id\ncovid/0.png,1\n")
    assert "9 image" in refused("--dataset", str(folder), *new)
    (folder / "patients.csv").write_bytes(b"path,patient_id\n\xff\xfe,1\n")
    assert "10 image" in refused("--dataset", str(folder), *new)


def test_a_full_disk_leaves_no_half_an_audit(folder, tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pairs, "draw_pairs", full)
    assert main(["--dataset", str(folder), "--output", str(tmp_path / "audits" / "one")]) == 2
    error = capsys.readouterr().err
    assert "audits/one: " in error
    assert "No space left on device" in error
    assert [line.startswith("error: ") for line in error.splitlines()] == [False, True]  # the first is the progress
    assert list((tmp_path / "audits").iterdir()) == []


def test_a_folder_needs_no_tensorflow_and_help_no_pandas(folder, tmp_path):
    program = f"""
import sys
from covid_tfds.audit.__main__ import main, parser
assert "--manual_dir" in parser().format_help()
assert not {{"tensorflow", "pandas"}} & set(sys.modules)
assert main(["--dataset", {str(folder)!r}, "--output", {str(tmp_path / "audit")!r}]) == 0
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_one_line_and_leaves_nothing(folder, tmp_path, number):
    audits = tmp_path / "audits"
    command = [sys.executable, "-m", "covid_tfds.audit", "--dataset", str(folder), "--output", str(audits / "one")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (audits.exists() and any(audits.iterdir())):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert stderr.strip() == "Stopped: no audit is written. The same command starts from the beginning."
    assert list(audits.iterdir()) == []
