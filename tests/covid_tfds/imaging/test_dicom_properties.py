"""Any DICOM header around drawn pixels is read as PS3.3 C.11 says, written here with NumPy alone."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydicom
from hypothesis import strategies as st
from pydicom.sequence import Sequence

from covid_tfds.imaging import reader
from tests.fakes.dicom import radiograph
from tests.fakes.properties import check_property, in_two_sizes


@dataclass(frozen=True)
class Drawn:
    """A header and the stored values: signed or not, of some bits."""

    stored: np.ndarray
    bits: int
    header: dict[str, Any] = field(default_factory=dict)
    table: np.ndarray | None = None
    first: int = 0
    table_bits: int = 16


@st.composite
def headers(draw) -> Drawn:
    bits = draw(st.integers(8, 16))
    signed = draw(st.booleans())
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    stored = random.integers(low, high, (9, 11), endpoint=True).astype(kind)
    header: dict[str, Any] = {"PhotometricInterpretation": draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))}
    if draw(st.booleans()):
        header |= {
            "RescaleSlope": draw(st.sampled_from([1, 2, 0.5, -1])),
            "RescaleIntercept": draw(st.sampled_from([0, -1024, 7.5])),
        }
    if draw(st.booleans()):
        header["PresentationLUTShape"] = draw(st.sampled_from(["IDENTITY", "INVERSE"]))
    if draw(st.booleans()):
        header["PixelPaddingValue"] = int(draw(st.sampled_from([low, high, int(stored[0, 0])])))
    if draw(st.booleans()):
        header |= {
            "WindowCenter": draw(st.integers(low, high)),
            "WindowWidth": draw(st.sampled_from([0, 0.5, 1, 2, 300, 4096])),
        }
        if draw(st.booleans()):
            header["VOILUTFunction"] = draw(st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    for name in draw(st.lists(st.sampled_from(["Modality", "RescaleSlope", "WindowWidth", "PatientID"]), max_size=2)):
        header.pop(name, None)
    if draw(st.integers(0, 2)) == 0 and not signed and "RescaleSlope" not in header:
        table_bits = draw(st.sampled_from([8, 12, 16]))
        table = np.sort(
            random.integers(0, (1 << draw(st.sampled_from([table_bits, min(table_bits, 12)]))) - 1, 256, endpoint=True)
        )
        return Drawn(stored, bits, header, table, draw(st.sampled_from([0, 100])), table_bits)
    return Drawn(stored, bits, header)


def write(drawn: Drawn) -> bytes:
    header = dict(drawn.header)
    if drawn.table is not None:
        item = pydicom.Dataset()
        item.LUTDescriptor = [len(drawn.table), drawn.first, drawn.table_bits]
        item.LUTData = drawn.table.astype(np.uint16).tobytes()
        item["LUTData"].VR = "OW"
        header["VOILUTSequence"] = Sequence([item])
    return radiograph(drawn.stored, drawn.bits, **header)


def read_by_the_standard(drawn: Drawn) -> np.ndarray:
    """Grey levels, float [rows, columns] in 0..255: PS3.3 C.11.1, C.11.2 and C.7.6.3."""
    header = drawn.header
    values = drawn.stored * float(header.get("RescaleSlope", 1)) + float(header.get("RescaleIntercept", 0))
    if "RescaleSlope" not in header:
        values = drawn.stored.astype(float)
    padding = drawn.stored == header.get("PixelPaddingValue", 1 << 20)
    center, width = header.get("WindowCenter"), header.get("WindowWidth")
    function = header.get("VOILUTFunction", "LINEAR")
    allowed = width is not None and (width >= 1 if function == "LINEAR" else width > 0)
    if drawn.table is not None:
        index = np.clip(values - drawn.first, 0, len(drawn.table) - 1).astype(int)
        largest = drawn.table.max()
        white = largest if 0 < largest < 1 << (drawn.table_bits - 1) else (1 << drawn.table_bits) - 1
        grey = drawn.table[index] / white
    elif center is None or not allowed:
        inside = values[~padding] if not padding.all() else values
        grey = (values - inside.min()) / ((inside.max() - inside.min()) or 1)
    elif function == "SIGMOID":
        grey = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    elif function == "LINEAR_EXACT":
        grey = (values - center) / width + 0.5
    elif width == 1:
        grey = (values > center - 0.5).astype(float)
    else:
        grey = (values - (center - 0.5)) / (width - 1) + 0.5
    levels = np.clip(grey, 0, 1) * 255
    is_inverse = header["PhotometricInterpretation"] == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE"
    levels = 255 - levels if is_inverse else levels
    levels[padding] = 0
    return levels


def check_header(drawn: Drawn) -> None:
    pixels = reader.decode_image(write(drawn)).pixels
    np.testing.assert_allclose(pixels[..., 0], read_by_the_standard(drawn), atol=0.51)


@in_two_sizes
def test_every_header_is_read_as_the_standard_says(examples):
    check_property(examples, headers(), check_header)
