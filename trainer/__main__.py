"""`python -m trainer`: the command line, and nothing else."""

import sys

from trainer import config, native_log


def main(argv: list[str] | None = None) -> int:
    """Parse argv, run the job, and give the exit code: 0, or 2 with one line for what the user can mend."""
    try:
        wanted = config.from_argv(argv)
        # Imported late: TensorFlow takes seconds, and --help or a bad flag needs none of it.
        with native_log.silenced():
            from trainer.training import train

        train(wanted)
    except config.UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
