import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from trainer.features import shards

KEY, IMAGES = '{"weights": "1"}', ["aa" * 32, "bb" * 32, "cc" * 32]
ARRAYS = {"pool/max": np.arange(12, dtype=np.float32).reshape(3, 4), "map": np.ones((3, 2, 2, 5), np.float32) / 3}


@pytest.fixture
def folder(tmp_path):
    shards.write_shard(tmp_path, KEY, IMAGES, ARRAYS)
    return tmp_path


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_written_is_read_bit_for_bit(folder, name):
    ((images, arrays),) = shards.read_arrays(folder, KEY, name)
    assert images.tolist() == IMAGES
    assert arrays.dtype == np.float32
    np.testing.assert_array_equal(arrays, ARRAYS[name])


def test_many_images_are_one_file(folder):
    assert len(files(folder)) == 1


def test_an_image_is_listed_once_all_its_arrays_are_there(folder):
    shards.write_shard(folder, KEY, IMAGES[:1], {"pool/average": ARRAYS["pool/max"][:1]})
    assert shards.list_images(folder, KEY, ["pool/max"]) == set(IMAGES)
    assert shards.list_images(folder, KEY, ["pool/max", "pool/average"]) == set(IMAGES[:1])
    assert shards.list_images(folder, "another key", ["pool/max"]) == set()


def test_a_flip_of_any_byte_is_found(folder):
    (path,) = files(folder)
    content, found = path.read_bytes(), 0
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        read = {name: list(shards.read_arrays(folder, KEY, name)) for name in ARRAYS}
        found += not all(read.values())
        for name, shard in read.items():
            assert not shard or np.array_equal(shard[0][1], ARRAYS[name]), at
    assert found > len(content) / 2


def test_a_damaged_shard_and_one_of_another_key_are_removed(folder, capsys):
    (path,) = files(folder)
    shards.write_shard(folder, "another", IMAGES, ARRAYS)
    (other,) = set(files(folder)) - {path}
    other.write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-30])
    for key in (KEY, "another"):
        assert shards.list_images(folder, key, ["map"]) == set()
    assert files(folder) == []
    assert str(path) in capsys.readouterr().err


def test_an_object_in_a_shard_is_damage_and_its_code_does_not_run(folder):
    (path,) = files(folder)
    ran = folder / "ran"

    class Evil:
        def __reduce__(self):
            return (type(ran).touch, (ran,))

    np.savez(path, key=np.asarray([Evil()], dtype=object), images=np.asarray([Evil()], dtype=object))
    assert shards.list_images(folder, KEY, ["map"]) == set()
    assert not ran.exists()


def test_a_folder_that_can_not_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be written"):
        shards.write_shard(tmp_path / "file", KEY, IMAGES, ARRAYS)
