"""DICOM: the real files that pydicom ships, and made-up ones where the answer is known."""

import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence

from covid_tfds.imaging import dicom, reader
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import read_image
from tests.fakes import dicom as dicom_files

RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)


def radiograph(stored=RAMP, bits=12, **changes) -> bytes:
    """A DICOM radiograph with these stored values."""
    return dicom_files.radiograph(stored, bits, **changes)


def grey(encoded: bytes) -> np.ndarray:
    pixels, _ = dicom.decode_dicom(encoded)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
    return pixels[..., 0]


def test_without_a_window_the_files_range_is_stretched():
    expected = np.rint(RAMP / RAMP.max() * 255)
    np.testing.assert_array_equal(grey(radiograph()), expected)
    np.testing.assert_array_equal(
        grey(radiograph(PhotometricInterpretation="MONOCHROME1")), np.rint(255 - RAMP / 4080 * 255)
    )


def test_8_bits_and_signed_values():
    small = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(grey(radiograph(small, 8)), small)
    signed = np.arange(-128, 128, dtype=np.int16).reshape(16, 16)
    np.testing.assert_array_equal(grey(radiograph(signed, 16)), small)


def test_the_window_is_applied_as_the_standard_says():
    """PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5) between the ends, black below, white above."""
    window = {"WindowCenter": 2048, "WindowWidth": 1001}
    expected = np.clip((RAMP - 2047.5) / 1000 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(grey(radiograph(**window)), expected, atol=0.501)
    # Several windows: the first is the publisher's first choice.
    np.testing.assert_array_equal(
        grey(radiograph(WindowCenter=[2048, 100], WindowWidth=[1001, 50])), grey(radiograph(**window))
    )


def test_rescaling_comes_before_the_window():
    expected = grey(radiograph(WindowCenter=2048, WindowWidth=1001))
    rescaled = radiograph(RescaleSlope=2, RescaleIntercept=-100, WindowCenter=2 * 2048 - 100, WindowWidth=2001)
    np.testing.assert_allclose(grey(rescaled).astype(int), expected.astype(int), atol=1)
    # A negative slope turns black and white around, and so does the window's direction.
    negative = radiograph(RescaleSlope=-1, RescaleIntercept=4080, WindowCenter=2048, WindowWidth=4000)
    assert grey(negative)[0, 0] > 250
    assert grey(negative)[-1, -1] < 5


@pytest.mark.parametrize("bits", [8, 12])
def test_a_lookup_table_wins_over_the_window(bits):
    table = pydicom.Dataset()
    table.LUTDescriptor = [4096, 0, bits]
    table.LUTData = (np.arange(4096) * (2**bits - 1) // 4095)[::-1].astype(np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    encoded = radiograph(VOILUTSequence=Sequence([table]), WindowCenter=1, WindowWidth=2)
    np.testing.assert_allclose(grey(encoded), 255 - RAMP / 4095 * 255, atol=1.5)


def test_padding_is_black_and_does_not_stretch_the_range():
    stored = RAMP.copy()
    stored[0] = 4095
    expected = np.rint((RAMP.astype(float) - 256) / (4080 - 256) * 255)[1:]
    pixels = grey(radiograph(stored, PixelPaddingValue=4095))
    assert not pixels[0].any()
    np.testing.assert_array_equal(pixels[1:], expected)


def test_overlays_in_the_upper_bits_are_not_taken_for_the_image():
    with_overlay = RAMP.copy()
    with_overlay[3] |= 0x8000
    np.testing.assert_array_equal(grey(radiograph(with_overlay)), grey(radiograph()))


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (radiograph(PhotometricInterpretation="RGB"), "in shades of grey .* got RGB"),
        (radiograph(NumberOfFrames=2), "one image, got 2 frames"),
        (radiograph(BitsStored=1), "8 to 16 bits, got 1"),
        (radiograph(Rows=20000, Columns=20000), "at most 50 million pixels"),
        (radiograph(Rows=17), "damaged DICOM file: The number of bytes"),
        (radiograph()[:700], "damaged DICOM file|without pixels"),
        (b"\0" * 128 + b"DICM" + b"garbage" * 30, "damaged DICOM file|without pixels"),
    ],
    ids=["colour", "frames", "bits", "bomb", "too-few-bytes", "truncated", "garbage"],
)
def test_what_is_no_single_grey_image_is_refused(encoded, message):
    with pytest.raises(ImageError, match=message) as caught:
        dicom.decode_dicom(encoded)
    assert "\n" not in str(caught.value)


def test_other_modalities_get_a_note():
    assert dicom.decode_dicom(radiograph())[1] == []
    assert dicom.decode_dicom(radiograph(Modality="MR"))[1] == ["the file's modality is MR, not a radiograph's"]


def lookup_table(entries, bits):
    table = pydicom.Dataset()
    table.LUTDescriptor = [len(entries), 0, bits]
    table.LUTData = entries.astype(np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    return Sequence([table])


def test_a_lookup_table_of_12_bits_that_says_16():
    entries = np.arange(4096)[::-1]
    said_16, said_12 = (grey(radiograph(VOILUTSequence=lookup_table(entries, bits))) for bits in (16, 12))
    np.testing.assert_array_equal(said_16, said_12)
    assert said_16[0, 0] == 255


@pytest.mark.parametrize("width", [0, 0.5])
def test_a_window_without_width_is_none_and_noted(width):
    encoded = radiograph(WindowCenter=100, WindowWidth=width)
    np.testing.assert_array_equal(grey(encoded), grey(radiograph()))
    assert len(dicom.decode_dicom(encoded)[1]) == 1


def test_a_narrow_window_of_the_exact_kind_is_applied():
    """PS3.3 C.11.2.1.3.2: (x - c) / w + 0.5 between the ends."""
    encoded = radiograph(
        RescaleSlope=1 / 4096, RescaleIntercept=0, WindowCenter=0.5, WindowWidth=0.8, VOILUTFunction="LINEAR_EXACT"
    )
    expected = np.clip((RAMP / 4096 - 0.5) / 0.8 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(grey(encoded), expected, atol=0.6)


@pytest.mark.parametrize(("vr", "value"), [("US", 63536), ("SS", -2000)])
def test_padding_is_found_with_either_sign(vr, value):
    stored = np.linspace(0, 1000, 256).reshape(16, 16).astype(np.int16)
    stored[0] = -2000
    encoded = io.BytesIO(radiograph(stored, 16))
    dataset = pydicom.dcmread(encoded)
    dataset.add_new("PixelPaddingValue", vr, value)
    pydicom.dcmwrite(encoded := io.BytesIO(), dataset)
    pixels = grey(encoded.getvalue())
    assert not pixels[0].any()
    assert pixels[1:].min() == 0
    assert pixels.max() == 255
    np.testing.assert_array_equal(pixels[1:], np.rint((stored[1:] - stored[1:].min()) / np.ptp(stored[1:]) * 255))


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_the_presentation_shape_inverse_turns_once(kind):
    inverse = grey(radiograph(PhotometricInterpretation=kind, PresentationLUTShape="INVERSE"))
    np.testing.assert_array_equal(inverse, grey(radiograph(PhotometricInterpretation="MONOCHROME1")))


def test_a_colour_file_in_shades_of_grey_is_read():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colours = np.repeat(levels[..., None], 3, axis=-1)
    about = {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "Modality": "SC"}
    np.testing.assert_array_equal(grey(radiograph(colours, 8, **about)), levels)
    colours[3, 3] = (200, 10, 10)
    with pytest.raises(ImageError, match="RGB"):
        dicom.decode_dicom(radiograph(colours, 8, **about))


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ({"ViewPosition": "LL"}, "LL"),
        ({"BodyPartExamined": "HAND"}, "HAND"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING"),
        ({"BurnedInAnnotation": "YES"}, "text"),
    ],
)
def test_images_that_are_no_frontal_chests_for_the_eye_get_a_note(header, named):
    (note,) = dicom.decode_dicom(radiograph(**header))[1]
    assert named in note
    assert dicom.read_dicom_header(radiograph(**header)).notes == [note]
    assert dicom.decode_dicom(radiograph(ViewPosition="AP", BodyPartExamined="CHEST", BurnedInAnnotation="NO"))[1] == []


@pytest.mark.parametrize(
    ("name", "mean"), [("CR1/6154", 97.7), ("CR2/6247", 157.6), ("CR3/6278", 105.7)], ids=["CR1", "CR2", "CR3"]
)
def test_real_radiographs_of_pydicom(name, mean):
    """MONOCHROME1, rescaled, windowed; found by its bytes, as these files have no suffix."""
    path = Path(pydicom.__file__).parent / "data/test_files/dicomdirtests/77654033" / name
    dataset = pydicom.dcmread(path)
    stored = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    center, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
    expected = 255 - np.clip((stored - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255
    pixels = read_image(path).pixels
    np.testing.assert_allclose(pixels[..., 1], expected, atol=0.6)
    assert pixels.mean() == pytest.approx(mean, abs=0.1)


def test_compressed_files_that_can_be_decoded_here():
    for name in ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"):
        path = get_testdata_file(name, download=False)
        np.testing.assert_array_equal(
            grey(Path(path).read_bytes()), grey(Path(get_testdata_file("MR_small.dcm")).read_bytes())
        )


@pytest.mark.parametrize(
    ("name", "package"),
    [("MR_small_jpeg_ls_lossless.dcm", "pyjpegls"), ("JPGExtended.dcm", "gdcm")],
)
def test_a_missing_decoder_is_named(name, package):
    module = {"pyjpegls": "jpeg_ls", "gdcm": "gdcm"}[package]
    if importlib.util.find_spec(module) or importlib.util.find_spec("libjpeg"):
        pytest.skip(f"{package} or pylibjpeg-libjpeg is installed: nothing is missing")
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"pydicom does not bring {name}")
    with pytest.raises(ImageError, match=f"compressed as JPEG.*{package}"):
        dicom.decode_dicom(Path(path).read_bytes())


def test_without_pydicom_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match="pip install pydicom"):
        dicom.decode_dicom(radiograph())


def test_a_file_named_dcm_without_the_mark_is_tried(tmp_path):
    path = tmp_path / "old.dcm"
    path.write_bytes(Path(get_testdata_file("MR_small_implicit.dcm")).read_bytes()[132:])
    assert read_image(path).pixels.shape == (64, 64, 3)
    path.write_bytes(b"text that is no image")
    with pytest.raises(ImageError, match="DICOM file"):
        read_image(path)


def test_a_real_chest_radiograph():
    """RG1_UNCI.dcm of pydicom-data: 1955 x 1841, MONOCHROME1, windowed. Bone is bright, lung and air are dark."""
    store = importlib.util.find_spec("data_store")
    if store is None:
        pytest.skip("pydicom-data is not installed: no real chest radiograph in DICOM")
    path = Path(store.origin).parent / "data" / "RG1_UNCI.dcm"
    image = reader.read_image(path)
    assert image.pixels.shape == (1955, 1841, 3)
    assert image.notes == []
    spine, lung, air = (
        image.pixels[rows, columns, 0].mean()
        for rows, columns in (
            (slice(1000, 1100), slice(860, 940)),
            (slice(450, 550), slice(480, 600)),
            (slice(40, 100), slice(20, 120)),
        )
    )
    assert spine > 220 > lung > 100 > air
