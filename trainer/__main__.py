"""`python -m trainer`: the command line, and nothing else."""

import sys

from trainer import config, native_log, stopping
from trainer.tuning import distribution


def main(argv: list[str] | None = None) -> int:
    """Parse argv, run the job, give the exit code: 0, 2 with one line for what can be mended, 130 or 143 stopped."""
    try:
        wanted = config.from_argv(argv)
        # Imported late: TensorFlow takes seconds, and --help or a bad flag needs none of it.
        with native_log.silenced():
            from trainer import replicas, training

        if wanted.tune and distribution.role(wanted) == "worker":
            training.help_tune(wanted)
        elif replicas.is_helper(wanted):
            training.help_fine_tune(wanted)
        else:
            training.train(wanted)
    except (config.UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        told = str(stop) or f"Stopped. What is done is kept. To go on: {wanted.command()}"
        print(f"\n{told}", file=sys.stderr)
        return stopping.exit_code(stop)
    return 0


if __name__ == "__main__":
    stopping.on_sigterm()
    sys.exit(main())
