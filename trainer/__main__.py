"""`python -m trainer`: the command line, and nothing else."""

import sys

from covid_tfds.common import cli, logs
from covid_tfds.common.errors import UsageError
from trainer import config
from trainer.tuning import distribution


def main(argv: list[str] | None = None) -> int:
    """Parse argv, run the job, give the exit code: 0, 2 with one line for what can be mended, 130 or 143 stopped."""
    try:
        wanted = config.from_argv(argv)
        # Imported late: TensorFlow takes seconds, and --help or a bad flag needs none of it.
        with logs.silenced():
            from trainer import training
            from trainer.models import strategies

        if wanted.tune and distribution.role(wanted) == "worker":
            training.help_tune(wanted)
        elif strategies.is_helper(wanted):
            training.help_fine_tune(wanted)
        else:
            training.train(wanted)
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        told = str(stop) or f"Stopped. What is done is kept. To go on: {wanted.command()}"
        print(f"\n{told}", file=sys.stderr)
        return cli.exit_code(stop)
    return 0


if __name__ == "__main__":
    cli.on_sigterm()
    sys.exit(main())
