"""Decode DICOM radiographs to 8-bit pixels, and read what their headers state, by pydicom.

The order is the standard's (PS3.3 C.11.1 and C.11.2): stored value, rescale or modality table, then the file's first
window or VOI table, then 0..255. MONOCHROME1 and the presentation shape INVERSE, where high values are dark, are
inverted at the end. Without a window, or with one that the standard does not allow, the file's own range of values is
stretched to 0..255; padding, where the file names it, is black. Colour files whose channels are equal, such as
secondary captures, are taken as they are.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from covid_tfds.common.errors import describe_error
from covid_tfds.common.names import printable
from covid_tfds.imaging.limits import ImageError, check_size

DEFLATED = b"1.2.840.10008.1.2.1.99"
RADIOGRAPHS = ("CR", "DX", "RG", "RF", "OT", "SC")
SHADES = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
GREY_WITHIN = 3  # levels by which the channels of a grey image differ where it went through YBR
FRONTAL = ("PA", "AP")
CHEST = ("CHEST", "THORAX", "LUNG", "RIB")


@dataclass(frozen=True)
class DicomHeader:
    """What a DICOM file states of its image and its patient.

    Attributes:
        width, height, channels: Of the image.
        patient_id: As the file states it: an identifier, never to be written or printed. "" if not stated.
        age: As in the file, "063Y"; "" if not stated.
        sex, view: "" if not stated.
        study_date: "YYYYMMDD"; "" if not stated.
        notes: Warnings about the image, one line each.
    """

    width: int
    height: int
    channels: int
    patient_id: str
    age: str
    sex: str
    view: str
    study_date: str
    notes: list[str]


def read_dicom_header(encoded: bytes) -> DicomHeader:
    """Read the header of one DICOM file, not its pixels.

    Raises:
        ImageError: If it is damaged, or pydicom is not installed.
    """
    with _opened(encoded, stop_before_pixels=True) as dataset:
        return DicomHeader(
            width=int(dataset.get("Columns") or 0),
            height=int(dataset.get("Rows") or 0),
            channels=int(dataset.get("SamplesPerPixel") or 1),
            patient_id=_text(dataset, "PatientID"),
            age=_text(dataset, "PatientAge"),
            sex=_text(dataset, "PatientSex"),
            view=_text(dataset, "ViewPosition"),
            study_date=_text(dataset, "StudyDate"),
            notes=_find_notes(dataset),
        )


def decode_dicom(encoded: bytes) -> tuple[np.ndarray, list[str]]:
    """Decode one DICOM file.

    Args:
        encoded: The whole file.

    Returns:
        The image, uint8 [height, width, 3] with three equal channels, and notes for a person, if any.

    Raises:
        ImageError: If it is not a single grey image of 8 to 16 bits, or is compressed in a way that nothing
            installed can decode; the message then names the package to install.
    """
    with _opened(encoded) as dataset:
        _check(dataset)
        if dataset.PhotometricInterpretation in SHADES:
            grey = _to_8_bits(_pixels(dataset), dataset)
        else:
            grey = _require_grey(_pixels(dataset), dataset)
        return np.repeat(grey[..., None], 3, axis=-1), _find_notes(dataset)


@contextlib.contextmanager
def _opened(encoded: bytes, stop_before_pixels: bool = False) -> Iterator:
    """Give a pydicom Dataset; turn what the block raises into ImageError."""
    try:
        import pydicom
    except ImportError as error:
        raise ImageError("a DICOM file, and pydicom is not installed: pip install pydicom") from error
    if DEFLATED in encoded:
        # pydicom inflates the whole file before it looks at it: a megabyte may become a gigabyte.
        raise ImageError("a deflated DICOM file (Deflated Explicit VR), which is not supported: save it uncompressed")
    with warnings.catch_warnings():
        # pydicom warns of every departure from the standard; what matters shows in the pixels or as an exception.
        warnings.simplefilter("ignore")
        try:
            yield pydicom.dcmread(io.BytesIO(encoded), stop_before_pixels=stop_before_pixels, force=True)
        except ImageError:
            raise
        except Exception as error:  # pydicom and its plugins raise many kinds for damaged files
            raise ImageError(f"a damaged DICOM file: {describe_error(error)}") from error


def _text(dataset, name: str) -> str:
    value = dataset.get(name)
    return "" if value is None else printable(str(value)).strip()


def _find_notes(dataset) -> list[str]:
    modality, view, part = (_text(dataset, name).upper() for name in ("Modality", "ViewPosition", "BodyPartExamined"))
    notes = {
        f"the file's modality is {modality}, not a radiograph's": modality and modality not in RADIOGRAPHS,
        f"the file's view is {view}, not a frontal one (PA or AP)": view and view not in FRONTAL,
        f"the file shows the body part {part}, not a chest": part and not any(word in part for word in CHEST),
        "the file is FOR PROCESSING: raw values, not an image as a person would see it": (
            _text(dataset, "PresentationIntentType").upper() == "FOR PROCESSING"
        ),
        "the file says that text is burned into the image": _text(dataset, "BurnedInAnnotation").upper() == "YES",
        "the file's window has a width that the standard does not allow: its range of values is used": (
            dataset.get("WindowCenter") is not None and not dataset.get("VOILUTSequence") and not _has_window(dataset)
        ),
    }
    return [note for note, applies in notes.items() if applies]


def _check(dataset) -> None:
    if "Rows" not in dataset or "Columns" not in dataset or "PixelData" not in dataset:
        raise ImageError("expected a DICOM file with an image, got one without pixels or no DICOM file at all")
    check_size(int(dataset.Columns), int(dataset.Rows))
    if (frames := int(dataset.get("NumberOfFrames") or 1)) != 1:
        raise ImageError(f"expected a DICOM file with one image, got {frames} frames")
    kind, samples = dataset.get("PhotometricInterpretation"), int(dataset.get("SamplesPerPixel") or 1)
    if (kind, samples) not in [*((one, 1) for one in SHADES), *((one, 3) for one in COLOURS)]:
        raise ImageError(f"expected a DICOM file in shades of grey ({' or '.join(SHADES)}), got {kind}")
    if not 8 <= (bits := int(dataset.get("BitsStored", 0))) <= 16:
        raise ImageError(f"expected a DICOM file of 8 to 16 bits, got {bits}")


def _pixels(dataset) -> np.ndarray:
    """Returns stored values, int32 [rows, columns], with a third axis for colours."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGExtended12Bit

    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        stored = dataset.pixel_array.astype(np.int32)
    except (RuntimeError, NotImplementedError) as error:
        decoder = get_decoder(syntax)
        # Pillow counts as a decoder of JPEG Extended, but reads only its 8-bit files.
        if decoder.is_available and syntax != JPEGExtended12Bit:
            raise
        packages = "; or ".join(decoder.missing_dependencies)
        raise ImageError(f"a DICOM file compressed as {syntax.name}, which needs a decoder: {packages}") from error
    if dataset.PixelRepresentation == 0:
        # Old files keep overlays in the bits above the image's.
        stored &= (1 << int(dataset.BitsStored)) - 1
    return stored


def _require_grey(colours: np.ndarray, dataset) -> np.ndarray:
    """Returns the grey levels, uint8 [rows, columns], of a colour image whose channels are equal."""
    if int(dataset.BitsStored) != 8 or np.ptp(colours, axis=-1).max() > GREY_WITHIN:
        kind = dataset.PhotometricInterpretation
        raise ImageError(f"expected a DICOM file in shades of grey, got {kind} whose channels differ")
    return np.rint(colours.mean(axis=-1)).astype(np.uint8)


def _to_8_bits(stored: np.ndarray, dataset) -> np.ndarray:
    """Turn stored values, int32, into uint8 as a person sees them, 0 black."""
    from pydicom.pixels import apply_modality_lut

    values = apply_modality_lut(stored, dataset)
    shown, low, high = _windowed(values, dataset, _padding(stored, dataset))
    # A negative rescale slope makes pydicom's window run from high to low: the sign cancels here.
    grey = np.clip((shown - low) / ((high - low) or 1), 0, 1) * 255
    if "MONOCHROME1" in dataset.PhotometricInterpretation or dataset.get("PresentationLUTShape") == "INVERSE":
        grey = 255 - grey
    grey[_padding(stored, dataset)] = 0
    if not np.isfinite(grey).all():
        raise ImageError("a damaged DICOM file: its rescale or window gives values that are not numbers")
    return np.rint(grey).astype(np.uint8)


def _windowed(values: np.ndarray, dataset, padding: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Returns values after the VOI table or window, the output that is darkest, the output that is brightest."""
    from pydicom.pixels import apply_voi, apply_windowing

    if dataset.get("VOILUTSequence"):
        table = dataset.VOILUTSequence[0]
        entries, first, bits = table.LUTDescriptor
        # pydicom would look up a table of 8-bit entries with 8-bit indices, however many entries it has.
        table.LUTDescriptor = [entries, first, max(int(bits), 16)]
        shown = apply_voi(np.rint(values).astype(np.int32), dataset).astype(float)
        return shown, 0.0, _brightest(table, int(bits))
    if _has_window(dataset):
        with np.errstate(over="ignore"):
            low, high = apply_windowing(np.asarray([-1e30, 1e30]), dataset)
            return apply_windowing(values, dataset), float(low), float(high)
    inside = values[~padding] if not padding.all() else values
    return values, float(inside.min()), float(inside.max())


def _brightest(table, bits: int) -> float:
    """Returns the output that is white: the largest of `bits`, or of the entries where all have fewer bits."""
    data = table.LUTData
    entries = np.frombuffer(data, np.uint16) if isinstance(data, bytes) else np.asarray(data)
    largest = int(entries.max(initial=0))
    return float(largest if 0 < largest < 2 ** (bits - 1) else 2**bits - 1)


def _has_window(dataset) -> bool:
    """Returns whether there is a window of a width that the standard allows (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    center, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    least_is_one = _text(dataset, "VOILUTFunction") in ("", "LINEAR")
    return center is not None and width is not None and (width >= 1 if least_is_one else width > 0)


def _first(value) -> float | None:
    """Returns the first of several values; None where there is none."""
    if value is None or value == "":
        return None
    values = [value] if isinstance(value, int | float | str) else list(value)
    return float(values[0]) if values else None


def _padding(stored: np.ndarray, dataset) -> np.ndarray:
    """Returns bool [rows, columns]: pixels outside the image (PixelPaddingValue to PixelPaddingRangeLimit)."""
    if dataset.get("PixelPaddingValue") is None:
        return np.zeros(stored.shape, dtype=bool)
    value = int(dataset.PixelPaddingValue)
    limit = int(dataset.get("PixelPaddingRangeLimit", value))
    low, high = sorted(_with_sign(one, dataset) for one in (value, limit))
    return (stored >= low) & (stored <= high)


def _with_sign(value: int, dataset) -> int:
    """Returns a value that was written without a sign beside signed pixels, or with one beside unsigned ones."""
    bits = int(dataset.BitsAllocated)
    if dataset.PixelRepresentation == 1 and value >= 1 << (bits - 1):
        return value - (1 << bits)
    return value + (1 << bits) if dataset.PixelRepresentation == 0 and value < 0 else value
