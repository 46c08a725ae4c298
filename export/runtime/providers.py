"""Choose the execution provider of ONNX Runtime: its own for the CPU, or another one that first proves itself.

Another engine may compute in fewer bits than the model file says: OpenVINO takes bfloat16 on many CPUs, CUDA takes
TF32. So a provider is used only after its answers to two golden images of the export are the right ones. The result is
kept in the user's cache folder. The CPU's provider needs no proof: it is what the export was compared with.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from covid_tfds.common.cores import read_cpu_flags
from covid_tfds.common.errors import UsageError, describe_error
from covid_tfds.common.files import find_cache_folder, read_checksums, read_json, write_json
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import read_image
from export.runtime.model_file import CPU, ModelError, list_providers, open_session, run_session

BEST = "best"
GOLDEN = "golden/golden.json"
PREFERRED = ("cuda", "openvino")
PROOFS = 2  # golden images
LEAST_HEAT = 1e-3  # of the logit; in a map that is weaker than that, rounding errors would look large
WIDEST_TOLERANCE = 1.0
OUTPUTS = {"probabilities": "probabilities", "heatmap": "heatmap_relative_to_its_maximum", "distance": "distance"}


@dataclass(frozen=True)
class OpenedModel:
    """A model in ONNX Runtime.

    Attributes:
        session: The model.
        provider: Short name of the execution provider that runs it.
        notices: Lines for the user: which other provider than the CPU's is used, or why it is not.
    """

    session: onnxruntime.InferenceSession
    provider: str
    notices: tuple[str, ...] = ()


class _NoProofError(Exception):
    """There are no golden answers to prove a provider with; the message says why."""


class _RefusedError(Exception):
    """A provider can't run the model, or gives other answers; the message says which."""


@dataclass(frozen=True)
class _Golden:
    """The golden answers of one model file: what a provider must give, and by how much it may miss it."""

    sha256: str
    cases: Sequence[tuple[str, np.ndarray, dict[str, np.ndarray]]]
    tolerances: dict[str, float]


def open_model(path: Path, model: bytes, provider: str = BEST, threads: int = 0) -> OpenedModel:
    """Open a model with the provider that is asked for, or with the best one that is installed and proves itself.

    Args:
        path: The model file, `golden/` beside it.
        model: Its bytes.
        provider: Short name such as "cpu" or "openvino", or ONNX Runtime's own; "best" tries `PREFERRED` first.
        threads: Number of threads, 0 for `count_threads`.

    Raises:
        ModelError: If the provider is asked for by name, and is not installed or gives other answers.
    """
    wanted = provider.lower().removesuffix("executionprovider")
    installed = list_providers()
    if wanted not in (BEST, *installed):
        expected = ", ".join([BEST, *installed])
        raise ModelError(f"--provider {provider} is not installed. Expected one of {expected}.")
    notices = []
    for name in _list_candidates(wanted, installed, model):
        try:
            session = _open_proven(path, model, name, threads)
            notices.append(f"Predicting with the provider {name}, which gives the golden answers.")
            return OpenedModel(session, name, tuple(notices))
        except _NoProofError as error:
            notices.append(f"Provider {name} can't be proved, because {error}: predicting with {CPU}.")
        except _RefusedError as error:
            if wanted != BEST:
                raise ModelError(
                    f"--provider {name} is refused: {error}. Leave it out, or give --provider {CPU}."
                ) from error
            notices.append(f"Provider {name} is refused: {error}. Predicting with {CPU}.")
    return OpenedModel(open_session(model, threads), CPU, tuple(notices))


def _list_candidates(wanted: str, installed: dict[str, str], model: bytes) -> list[str]:
    if wanted != BEST:
        return [] if wanted == CPU else [wanted]
    # OpenVINO computes float32 no faster than ONNX Runtime does: it is worth its start-up for 8 bits alone.
    is_int8 = b"DequantizeLinear" in model
    return [name for name in PREFERRED if name in installed and (is_int8 or name != "openvino")]


def _open_proven(path: Path, model: bytes, provider: str, threads: int) -> onnxruntime.InferenceSession:
    golden_sha256 = _hash_golden(path)
    engine = f"{onnxruntime.__version__} {sorted(read_cpu_flags())}"
    about = [hashlib.sha256(model).hexdigest(), path.name, golden_sha256, provider, engine]
    kept = find_cache_folder("providers") / f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()}.json"
    proof = _read_proof(kept)
    if proof is not None and proof["refused"]:
        raise _RefusedError(proof["refused"])
    try:
        session = open_session(model, threads, provider)
    except Exception as error:  # ONNX Runtime raises many kinds of its own
        raise _RefusedError(f"it can't open {path}: {describe_error(error)}") from error
    if proof is None:
        refused = _find_fault(session, _read_golden(path, golden_sha256))
        _keep_proof(kept, {"provider": provider, "refused": refused})
        if refused:
            raise _RefusedError(refused)
    return session


def _find_fault(session: onnxruntime.InferenceSession, golden: _Golden) -> str | None:
    """Why a provider's answers are not the golden ones; None where they are."""
    for file, pixels, expected in golden.cases:
        try:
            answers = run_session(session, list(expected), {"image": pixels[None]})
        except ModelError as error:
            return str(error)
        for (name, right), answer in zip(expected.items(), answers, strict=True):
            if answer[0].shape != right.shape:
                return f"it gives {name} of the shape {answer[0].shape} on golden/{file}, expected {right.shape}"
            scale = max(float(right.max()), LEAST_HEAT) if name == "heatmap" else 1.0
            difference, tolerance = float(np.abs(answer[0] - right).max()) / scale, golden.tolerances[name]
            if not difference <= tolerance:  # NaN, too
                what = f"{difference:.2g} in {name} on golden/{file}"
                return f"it differs by {what}, more than the tolerance {tolerance:g}"
    return None


def _hash_golden(path: Path) -> str:
    """SHA-256 of golden.json, which holds the SHA-256 of each golden image's pixels."""
    file = path.parent / GOLDEN
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise _NoProofError(f"{file} can't be read ({describe_error(error)})") from error
    if digest != read_checksums(path.parent).get(GOLDEN, digest):
        raise _NoProofError(f"{file} was changed")
    return digest


def _read_golden(path: Path, digest: str) -> _Golden:
    """The answers of a model file to the marked images that show a difference best, at most `PROOFS`."""
    file = path.parent / GOLDEN
    try:
        content = read_json(file)
        stated = content["tolerances"][path.name]
        cases = [case for case in content["cases"] if case["self_test"]]
        # Near 0 and 1 a probability hardly changes, whatever the engine does.
        cases.sort(key=lambda case: abs(case["answers"][path.name]["probabilities"][0] - 0.5))
        found = [_read_case(file.parent, case, case["answers"][path.name]) for case in cases[:PROOFS]]
        tolerances = {name: float(stated[key]) for name, key in OUTPUTS.items()}
    except (UsageError, ImageError, OSError) as error:
        raise _NoProofError(f"{file} can't be used ({error})") from error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _NoProofError(f"{file} has no answers of {path.name}") from error
    if not found or not all(0 <= tolerance <= WIDEST_TOLERANCE for tolerance in tolerances.values()):
        raise _NoProofError(f"{file} has no images or no tolerances for {path.name}")
    return _Golden(digest, found, tolerances)


def _read_case(folder: Path, case: dict[str, Any], answer: dict[str, Any]) -> tuple[str, np.ndarray, dict[str, Any]]:
    file = Path(case["file"]).name  # never another folder's
    pixels = read_image(folder / file).pixels
    if hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest() != case["rgb_sha256"]:
        raise UsageError(f"{file} was changed")
    return (
        file,
        pixels,
        {name: np.asarray(answer[name], np.float64) for name in OUTPUTS if answer.get(name) is not None},
    )


def _read_proof(kept: Path) -> dict | None:
    try:
        proof = read_json(kept)
    except (OSError, UsageError):  # not there, or damaged
        return None
    return proof if isinstance(proof, dict) and isinstance(proof.get("refused", ""), str | None) else None


def _keep_proof(kept: Path, proof: dict) -> None:
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, proof)
    except (OSError, UsageError) as error:
        about = f"The proof of provider {proof['provider']} is repeated next time: it can't be kept"
        print(f"{about} ({describe_error(error)}).", file=sys.stderr)
