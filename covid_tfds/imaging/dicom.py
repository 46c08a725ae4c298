"""Decode DICOM radiographs to 8-bit pixels, by pydicom.

The order is the standard's (PS3.3 C.11.1 and C.11.2): stored value, rescale or modality table, then the file's first
window or VOI table, then 0..255. MONOCHROME1, where high values are dark, is inverted at the end. Without a window the
file's own range of values is stretched to 0..255; padding, where the file names it, is black.
"""

from __future__ import annotations

import io
import warnings

import numpy as np

from covid_tfds.common.errors import describe_error
from covid_tfds.imaging.limits import ImageError, check_size

DEFLATED = b"1.2.840.10008.1.2.1.99"
RADIOGRAPHS = ("CR", "DX", "RG", "RF", "OT", "SC")
SHADES = {"MONOCHROME1", "MONOCHROME2"}


def decode_dicom(encoded: bytes) -> tuple[np.ndarray, list[str]]:
    """Decode one DICOM file.

    Args:
        encoded: The whole file.

    Returns:
        The image, uint8 [height, width, 3] with three equal channels, and notes for a person, if any.

    Raises:
        ImageError: If it is not a single monochrome image of 8 to 16 bits, or is compressed in a way that nothing
            installed can decode; the message then names the package to install.
    """
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
            dataset = pydicom.dcmread(io.BytesIO(encoded), force=True)
            _check(dataset)
            grey = _to_8_bits(_pixels(dataset), dataset)
        except ImageError:
            raise
        except Exception as error:  # pydicom and its plugins raise many kinds for damaged files
            raise ImageError(f"a damaged DICOM file: {describe_error(error)}") from error
    notes = []
    if (modality := dataset.get("Modality")) and modality not in RADIOGRAPHS:
        notes.append(f"the file's modality is {modality}, not a radiograph's")
    return np.repeat(grey[..., None], 3, axis=-1), notes


def _check(dataset) -> None:
    if "Rows" not in dataset or "Columns" not in dataset or "PixelData" not in dataset:
        raise ImageError("expected a DICOM file with an image, got one without pixels or no DICOM file at all")
    check_size(int(dataset.Columns), int(dataset.Rows))
    if (frames := int(dataset.get("NumberOfFrames") or 1)) != 1:
        raise ImageError(f"expected a DICOM file with one image, got {frames} frames")
    if (kind := dataset.get("PhotometricInterpretation")) not in SHADES:
        raise ImageError(f"expected a DICOM file in shades of grey ({' or '.join(sorted(SHADES))}), got {kind}")
    if not 8 <= (bits := int(dataset.get("BitsStored", 0))) <= 16:
        raise ImageError(f"expected a DICOM file of 8 to 16 bits, got {bits}")


def _pixels(dataset) -> np.ndarray:
    """Returns stored values, int32 [rows, columns]."""
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


def _to_8_bits(stored: np.ndarray, dataset) -> np.ndarray:
    """Turn stored values, int32, into uint8 as a person sees them, 0 black."""
    from pydicom.pixels import apply_modality_lut

    values = apply_modality_lut(stored, dataset)
    shown, low, high = _windowed(values, dataset, _padding(stored, dataset))
    # A negative rescale slope makes pydicom's window run from high to low: the sign cancels here.
    grey = np.clip((shown - low) / ((high - low) or 1), 0, 1) * 255
    if dataset.PhotometricInterpretation == "MONOCHROME1":
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
        return apply_voi(np.rint(values).astype(np.int32), dataset).astype(float), 0.0, float(2**bits - 1)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        with np.errstate(over="ignore"):
            low, high = apply_windowing(np.asarray([-1e30, 1e30]), dataset)
            return apply_windowing(values, dataset), float(low), float(high)
    inside = values[~padding] if not padding.all() else values
    return values, float(inside.min()), float(inside.max())


def _padding(stored: np.ndarray, dataset) -> np.ndarray:
    """Returns bool [rows, columns]: pixels outside the image (PixelPaddingValue to PixelPaddingRangeLimit)."""
    if dataset.get("PixelPaddingValue") is None:
        return np.zeros(stored.shape, dtype=bool)
    value = int(dataset.PixelPaddingValue)
    low, high = sorted((value, int(dataset.get("PixelPaddingRangeLimit", value))))
    return (stored >= low) & (stored <= high)
