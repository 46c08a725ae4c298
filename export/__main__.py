"""`python -m export`: the command line, and nothing else."""

import argparse
import sys
from pathlib import Path

from covid_tfds.common import cli, logs
from covid_tfds.common.errors import INTENDED_USE, UsageError


def main(argv: list[str] | None = None) -> int:
    """Parse argv, export, and give the exit code.

    0; 1 when parity fails; 2, with one line, for what can be mended; 130 or 143 when stopped.
    """
    options = parser().parse_args(argv)
    run_dir = Path(options.run_dir)
    output = Path(options.output) if options.output else run_dir / "export"
    try:
        # Imported late: TensorFlow takes seconds, and --help needs none of it.
        with logs.silenced():
            from export import exporting

        exporting.export(run_dir, output, options.int8)
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\nStopped: nothing is at {output}. The same command begins anew.", file=sys.stderr)
        return cli.exit_code(stop)
    except exporting.ParityError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Exported: {output}\nPage to read first: {output / exporting.page.PAGE}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m export",
        description="Turn a run folder into a SavedModel and an ONNX model, and prove that they answer as the trained "
        f"model does. {INTENDED_USE}",
        allow_abbrev=False,
    )
    result.add_argument("run_dir", metavar="RUN_DIR", help="finished run folder of `python -m trainer`")
    result.add_argument("--int8", action="store_true", help="make model.int8.onnx, too: a quarter of the size, faster")
    result.add_argument(
        "--output", metavar="DIR", help="folder to make (default: RUN_DIR/export); an existing one is not touched"
    )
    return result


if __name__ == "__main__":
    cli.on_sigterm()
    sys.exit(main())
