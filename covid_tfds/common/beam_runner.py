"""Beam's flags and runner, for the commands that hand what they do not know to Beam."""

from __future__ import annotations

import argparse
import os

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_provision_api_pb2, beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle

LOCAL = ("FnApiRunner", "DirectRunner", "PrismRunner")
QUIET = "--default_sdk_harness_log_level=ERROR"  # of a worker; the last one given counts


def options(name: str, flags: list[str]) -> PipelineOptions:
    """Beam's options for the runner called `name`. Raises ValueError, in one line, for a runner or flag it lacks."""
    result = PipelineOptions([QUIET, *flags], runner=name)
    try:
        beam.Pipeline(options=result)
    except (ValueError, ImportError, AttributeError) as error:
        raise ValueError(f"--runner {name}: {' '.join(str(error).split())}") from error
    parsers: list[argparse.ArgumentParser] = []
    result.get_all_options(add_extra_args_fn=parsers.append)
    _, unknown = parsers[0].parse_known_args(flags)
    # A cluster's job server may know flags that Beam's Python side does not.
    if unknown and name in LOCAL:
        raise ValueError(f"{unknown[0]} is no flag of this command, nor of Beam. See --help.")
    return result


def runner(chosen: PipelineOptions) -> str | beam.runners.PipelineRunner:
    """The runner that the options name; Beam's own on this machine is told to hand them to its workers.

    DirectRunner would tell it so, but first tries to download another runner.
    """
    name = chosen.view_as(StandardOptions).runner
    if name != "FnApiRunner":
        return name
    told = beam_provision_api_pb2.ProvisionInfo(
        pipeline_options=JobServiceHandle.encode_pipeline_options(chosen.get_all_options())
    )
    return _Runner(provision_info=fn_runner.ExtendedProvisionInfo(told))


class _Runner(fn_runner.FnApiRunner):
    """Beam's own, but Ctrl-C leaves its worker processes to `stopping`: each would answer with a traceback."""

    def run_via_runner_api(
        self, pipeline_proto: beam_runner_api_pb2.Pipeline, options: PipelineOptions
    ) -> fn_runner.RunnerResult:
        """As Beam's; the shell that starts a worker makes it deaf to the signals that a terminal sends to all."""
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK and os.name == "posix":
                environment.payload = b"trap '' INT TERM; exec " + environment.payload
        return super().run_via_runner_api(pipeline_proto, options)
