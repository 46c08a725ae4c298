"""What a network can do to a download: it ends in time, says what happened, and what has come stays."""

import datetime
import re
import ssl
import time

import pytest

from covid_tfds import SourceError
from covid_tfds.sources import downloads, locate
from tests.fakes.publisher import Publisher, Reply, github_path

SECONDS = 5  # for a whole fetch of six images, with the limits that `fast` sets


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(downloads, "FILE_SECONDS", 0.6)
    monkeypatch.setattr(downloads, "DIRECTORY_SECONDS", 0.6)


def fetch(rows):
    """(what came, what failed and why), in bounded time."""
    kept = {}
    started = time.monotonic()
    failures = downloads.fetch_images(rows, lambda row, data, origin: kept.update({row.image_id: data}))
    assert time.monotonic() - started < SECONDS
    assert kept.keys() | failures.keys() == {row.image_id for row in rows}
    return kept, failures


def test_an_answer_that_drips_is_given_up(offered, wanted):
    """Each byte comes before READ_SECONDS are over, the file would take a minute."""
    rows, images = wanted
    offered.replies[github_path(rows[0])] = Reply(images[rows[0].image_id], drip=0.05)
    kept, failures = fetch(rows)
    assert list(failures) == [row.image_id for row in rows[:3]]
    assert re.search(rf"{rows[0].path}: .* 0\.6 seconds", failures[rows[0].image_id])
    assert kept == {row.image_id: images[row.image_id] for row in rows[3:]}


def test_a_zip_that_drips_is_given_up(offered, wanted):
    rows, _ = wanted
    body = offered.replies["/mendeley.zip"].body
    offered.replies["/mendeley.zip"] = Reply(body, ranges=True, drip=0.05)
    kept, failures = fetch(rows)
    assert list(failures) == [row.image_id for row in rows[3:]]
    assert all(re.search(rf"{downloads.MENDELEY}: .* 0\.6 seconds", why) for why in failures.values())
    # Its directory comes, a member does not.
    offered.replies["/mendeley.zip"] = [Reply(body, ranges=True), Reply(body, ranges=True, drip=0.05)]
    kept, failures = fetch(rows[3:])
    assert kept == {}
    assert re.search(r"mendeley.zip chest_xray/.*: .* 0\.6 seconds", failures[rows[3].image_id])


def test_a_connection_that_is_reset_is_tried_once_more(offered, wanted):
    rows, images = wanted
    bad = github_path(rows[1])
    good = offered.replies[bad]
    offered.replies[bad] = [Reply(images[rows[1].image_id], reset=True), good]
    kept, failures = fetch(rows[:3])
    assert failures == {}
    assert kept[rows[1].image_id] == images[rows[1].image_id]
    assert offered.requests.count(bad) == 2


def test_a_connection_that_is_always_reset_costs_one_file(offered, wanted):
    rows, images = wanted
    bad = github_path(rows[1])
    offered.replies[bad] = Reply(images[rows[1].image_id], reset=True)
    _, failures = fetch(rows)
    assert list(failures) == [rows[1].image_id]
    assert bad in failures[rows[1].image_id]
    assert offered.requests.count(bad) == 2


def test_a_member_of_the_zip_whose_connection_is_reset_is_tried_once_more(offered, wanted):
    rows, images = wanted
    whole = offered.replies["/mendeley.zip"]
    broken = Reply(whole.body, ranges=True, reset=True)
    offered.replies["/mendeley.zip"] = [whole, broken, whole, whole, whole]
    kept, failures = fetch(rows[3:])
    assert failures == {}
    assert kept == {row.image_id: images[row.image_id] for row in rows[3:]}


@pytest.mark.parametrize("target", ["itself", "file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_a_redirect_in_a_circle_or_elsewhere_costs_one_file(offered, wanted, target):
    rows, _ = wanted
    bad = github_path(rows[0])
    offered.replies[bad] = Reply(b"", 302, headers={"Location": bad if target == "itself" else target})
    kept, failures = fetch(rows)
    assert list(failures) == [rows[0].image_id]
    assert re.search("Exceeded 30 redirects|No connection adapters", failures[rows[0].image_id])
    assert len(kept) == 5


def certificate(folder, days: int):
    """(certificate, key) for 127.0.0.1, signed by itself, that ends in so many days."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed: no certificate can be made")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    ends = now + datetime.timedelta(days=days)
    import ipaddress

    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(min(now, ends) - datetime.timedelta(days=2))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(secret)
    return folder / "certificate.pem", folder / "key.pem"


@pytest.mark.parametrize(
    ("days", "trusted", "expected"),
    [(30, True, None), (-1, True, "certificate has expired"), (30, False, "self.signed certificate")],
    ids=["sound", "expired", "unknown"],
)
def test_certificates_are_looked_at(wanted, tmp_path, monkeypatch, days, trusted, expected):
    rows, images = wanted
    public, secret = certificate(tmp_path, days)
    with Publisher() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(public, secret)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        address = server.address.replace("http:", "https:")
        monkeypatch.setattr(downloads, "GITHUB", f"{address}/github")
        if trusted:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(public))
        for row in rows[:3]:
            server.replies[github_path(row)] = Reply(images[row.image_id])
        kept, failures = fetch(rows[:3])
    if expected is None:
        assert failures == {}
        assert len(kept) == 3
    else:
        assert kept == {}
        assert all(re.search(expected, why) and why.startswith(address) for why in failures.values())
        assert server.requests == []


def test_what_had_come_before_a_fault_is_kept_and_the_rest_is_fetched_at_the_next_run(offered, wanted, tmp_path):
    rows, images = wanted
    bad = github_path(rows[1])
    good = offered.replies[bad]
    offered.replies[bad] = Reply(images[rows[1].image_id], drip=0.05)
    with pytest.raises(SourceError, match=r"(?s)2 of its 6 images.*0\.6 seconds"):
        locate.locate_images("covid_tfds/made_up", rows, tmp_path, None)
    assert not list(tmp_path.rglob(".*"))
    offered.replies[bad] = good
    offered.requests.clear()
    found = locate.locate_images("covid_tfds/made_up", rows, tmp_path, None)
    assert {name: file.read_bytes() for name, file in found.items()} == images
    assert sorted(offered.requests) == sorted(github_path(row) for row in rows[1:3])


def test_members_of_the_zip_cannot_be_written_elsewhere(offered, wanted, tmp_path):
    """Files are called after their hash, whatever the zip calls them."""
    import io
    import zipfile

    rows, images = wanted
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for row, name in zip(rows[3:], ("../../up.jpeg", "/tmp/absolute.jpeg", "..\\up.jpeg"), strict=True):
            archive.writestr(name, images[row.image_id])
    offered.replies["/mendeley.zip"] = Reply(buffer.getvalue(), ranges=True)
    (tmp_path / "a" / "b").mkdir(parents=True)
    found = locate.locate_images("covid_tfds/made_up", rows, tmp_path / "a" / "b", None)
    assert {name: file.read_bytes() for name, file in found.items()} == images
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "config.json"]
    assert {path.stem for path in files} == {row.sha256 for row in rows}
    assert all(path.is_relative_to(tmp_path / "a" / "b") for path in files)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(hang=True), "timed out"),
        (Reply(b"x" * 1000, reset=True), "could not be downloaded"),
        (Reply(b"x" * 1000), "does not match"),
        (Reply(b"x", announced=1000), "could not be downloaded"),
        (Reply(b"", 302, headers={"Location": "file:///etc/hostname"}), "could not be downloaded"),
        (Reply(b"", 302, headers={"Location": "/weights"}), "could not be downloaded"),
    ],
    ids=["stall", "reset", "wrong-hash", "short", "to-file", "loop"],
)
def test_imagenet_weights_that_do_not_come_give_one_line(publisher, monkeypatch, tmp_path, reply, expected):
    from keras.src.applications import vgg16 as keras_vgg16
    from keras.src.backend import config

    from covid_tfds.common.errors import UsageError
    from trainer.models import vgg16

    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path))
    monkeypatch.setattr(keras_vgg16, "WEIGHTS_PATH_NO_TOP", f"{publisher.address}/weights")
    monkeypatch.setattr(vgg16, "STALL_SECONDS", 0.3)
    publisher.replies["/weights"] = reply
    started = time.monotonic()
    with pytest.raises(UsageError, match=r"ImageNet weights could not be downloaded \(") as caught:
        vgg16.load_backbone("imagenet", 1)
    assert time.monotonic() - started < 10
    assert re.search(expected, str(caught.value))
    assert "\n" not in str(caught.value)
