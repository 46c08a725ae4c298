"""The publishers' part of the sources, against a local server and everything that can go wrong with one."""

import dataclasses
import json

import pytest

from covid_tfds.sources import downloads, network
from tests.fakes.publisher import Reply, github_path

KAGGLE_PATH = "/v1/datasets.DatasetApiService/DownloadDataset"


def fetch(rows):
    kept = {}
    failures = downloads.fetch_images(rows, lambda row, data, origin: kept.update({row.image_id: data}))
    assert not kept.keys() & failures.keys()
    assert kept.keys() | failures.keys() == {row.image_id for row in rows}
    return kept, failures


def test_single_files_from_github_and_members_of_the_zip(offered, wanted):
    rows, images = wanted
    kept, failures = fetch(rows)
    assert kept == images
    assert failures == {}


def test_kaggle_comes_first_and_mendeley_only_for_the_rest(offered, wanted):
    rows, images = wanted
    by_path = {row.path: images[row.image_id] for row in rows}
    damaged = rows[4]

    def kaggle(request):
        request = json.loads(request)
        assert (request["ownerSlug"], request["datasetSlug"]) == ("paultimothymooney", "chest-xray-pneumonia")
        assert request["datasetVersionNumber"] == 2
        body = by_path[request["fileName"]]
        offered.replies["/storage"] = Reply(body[::-1] if request["fileName"] == damaged.path else body)
        return Reply(status=302, headers={"Location": "/storage"})

    offered.replies[KAGGLE_PATH] = kaggle
    kept, failures = fetch(rows[3:])
    assert failures == {}
    assert kept == {row.image_id: images[row.image_id] for row in rows[3:]}
    assert [path for path in offered.requests if path.startswith("/v1")] == [
        f"{KAGGLE_PATH} {r.path}" for r in rows[3:]
    ]
    # One request for the directory of the zip, one for the member that Kaggle could not give.
    assert offered.requests.count("/mendeley.zip") == 2


def test_kaggle_that_hangs_gives_way_to_mendeley(offered, wanted, monkeypatch):
    monkeypatch.setattr(downloads, "KAGGLE_FILE_SECONDS", 0.3)
    offered.replies[KAGGLE_PATH] = Reply(hang=True)
    rows, _ = wanted
    kept, failures = fetch(rows[3:])
    assert len(kept) == 3
    assert failures == {}
    assert len([path for path in offered.requests if path.startswith("/v1")]) == 1


WRONG = {
    "wrong-hash": (lambda data: Reply(data[::-1]), "sha256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
    "short": (lambda data: Reply(data[:100]), "truncated, 100 of [0-9]+ bytes"),
    "cut-off": (lambda data: Reply(data[:100], announced=len(data)), "the connection broke off"),
    "endless": (lambda data: Reply(data * 500, announced=10**12), "more than the [0-9]+ bytes expected"),
    "html": (lambda data: Reply(b"<!DOCTYPE html><title>Log in</title>"), "an HTML page .* in place of an image"),
    "404": (lambda data: Reply(b"gone", 404), "HTTP 404 Not Found"),
    "403": (lambda data: Reply(b"no", 403), "HTTP 403 Forbidden"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_one_bad_file_is_named_and_the_others_come(fault, offered, wanted):
    rows, images = wanted
    bad = rows[1]
    reply, expected = WRONG[fault]
    offered.replies[github_path(bad)] = reply(images[bad.image_id])
    kept, failures = fetch(rows)
    assert list(failures) == [bad.image_id]
    assert len(kept) == 5
    address = f"{downloads.GITHUB}/{bad.revision}/{bad.path}"
    assert failures[bad.image_id].startswith(address)
    assert_matches(expected, failures[bad.image_id])


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_host_is_tried_again_and_then_left_alone(status, offered, wanted):
    rows, _ = wanted
    offered.replies[github_path(rows[0])] = Reply(b"later", status, headers={"Retry-After": "3600"})
    kept, failures = fetch(rows)
    assert list(failures) == [row.image_id for row in rows[:3]]
    assert_matches(f"{github_path(rows[0])}: HTTP {status}", failures[rows[0].image_id])
    assert [path for path in offered.requests if path.startswith("/github")] == [github_path(rows[0])] * 3
    assert len(kept) == 3


def test_a_host_that_recovers_is_used(offered, wanted):
    rows, _ = wanted
    path = github_path(rows[0])
    offered.replies[path] = [Reply(b"moment", 500), offered.replies[path]]
    kept, failures = fetch(rows)
    assert failures == {}
    assert len(kept) == 6


def test_a_connection_that_hangs_ends(offered, wanted):
    rows, _ = wanted
    offered.replies[github_path(rows[1])] = Reply(hang=True)
    kept, failures = fetch(rows)
    assert list(failures) == [rows[1].image_id, rows[2].image_id]
    assert_matches(f"{rows[1].path}: .*timed out", failures[rows[1].image_id])
    assert len(kept) == 4


ZIP_FAULTS = {
    "ignores-range": (lambda body: Reply(body), "doesn't support range requests"),
    "404": (lambda body: Reply(b"gone", 404), "404"),
    "429": (lambda body: Reply(b"later", 429), "429"),
    "500": (lambda body: Reply(b"oops", 500), "500"),
    "hangs": (lambda body: Reply(hang=True), "timed out"),
    "html": (lambda body: Reply(b"<html>" + b" " * 70000, ranges=True), "not a zip file"),
    "truncated": (lambda body: Reply(body[: len(body) // 2], ranges=True), "not a zip file"),
}


@pytest.mark.parametrize("fault", ZIP_FAULTS)
def test_a_zip_that_cannot_be_read_is_named(fault, offered, wanted):
    rows, _ = wanted
    reply, expected = ZIP_FAULTS[fault]
    offered.replies["/mendeley.zip"] = reply(offered.replies["/mendeley.zip"].body)
    kept, failures = fetch(rows)
    assert list(failures) == [row.image_id for row in rows[3:]]
    for reason in failures.values():
        assert_matches(f"{downloads.KAGGLE} .*; {downloads.MENDELEY}.*{expected}", reason)
    assert len(kept) == 3


def test_the_others_come_beside_a_damaged_member(offered, wanted):
    rows, _ = wanted
    body = bytearray(offered.replies["/mendeley.zip"].body)
    at = bytes(body).index(b"NORMAL-0000001-0001.jpeg") + 200
    body[at : at + 40] = bytes(40)
    offered.replies["/mendeley.zip"] = Reply(bytes(body), ranges=True)
    kept, failures = fetch(rows[3:])
    assert list(failures) == [rows[4].image_id]
    assert_matches(f"{downloads.MENDELEY} chest_xray/train/NORMAL/NORMAL-0000001", failures[rows[4].image_id])
    assert len(kept) == 2


def test_a_zip_without_the_image_names_what_is_missing(offered, wanted):
    rows, _ = wanted
    unknown = dataclasses.replace(rows[5], crc32="00000000")
    kept, failures = fetch([*rows[3:5], unknown])
    assert_matches(f"{downloads.MENDELEY}: no member of {unknown.bytes} bytes", failures[unknown.image_id])
    assert len(kept) == 2


@pytest.mark.parametrize("target", ["file:///etc/hostname", "http://localhost:{port}{path}"])
def test_redirects_stay_on_allowed_addresses(target, offered, wanted):
    rows, _ = wanted
    place = target.format(port=offered.server_port, path=github_path(rows[1]))
    offered.replies[github_path(rows[0])] = Reply(b"", 302, headers={"Location": place})
    _, failures = fetch(rows[:1])
    assert_matches("No connection adapters were found", failures[rows[0].image_id])


def test_only_https_is_allowed():
    assert network.ALLOWED_ADDRESSES == ("https://",)
    for address in (downloads.GITHUB, downloads.KAGGLE, downloads.MENDELEY):
        assert address.startswith("https://")


def test_without_a_network_it_ends(publisher, wanted, monkeypatch):
    rows, _ = wanted
    nobody = "http://127.0.0.1:9"  # the discard port: refused
    monkeypatch.setattr(network, "ALLOWED_ADDRESSES", (nobody,))
    for name in ("GITHUB", "KAGGLE", "MENDELEY"):
        monkeypatch.setattr(downloads, name, f"{nobody}/{name}")
    kept, failures = fetch(rows)
    assert kept == {}
    assert_matches("http://127.0.0.1:9/GITHUB: .*refused", failures[rows[0].image_id])
    assert_matches("9/KAGGLE: .*refused; .*9/MENDELEY: .*refused", failures[rows[5].image_id])


def test_a_network_without_answers_is_given_up(publisher, wanted, monkeypatch):
    rows, _ = wanted
    monkeypatch.setattr(network, "PREFLIGHT_SECONDS", 0.4)
    monkeypatch.setattr("tests.fakes.publisher._Handler.do_HEAD", lambda handler: handler._answer(Reply(hang=True)))
    kept, failures = fetch(rows)
    assert kept == {}
    assert publisher.requests == []
    assert_matches(f"{downloads.GITHUB}: no answer in 0.4 s", failures[rows[0].image_id])


def test_the_preflight_leaves_time_within_ten_seconds():
    assert network.PREFLIGHT_SECONDS < 10
    assert network.CONNECT_SECONDS < network.PREFLIGHT_SECONDS


def assert_matches(pattern, text):
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(text)
