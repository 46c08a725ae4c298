"""`python -m trainer`: train on a dataset, or search the hyperparameters with --tune, and write a run folder."""

import sys

from covid_tfds.common import cli, logs
from trainer import config
from trainer.tuning import workers


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code, see `cli.run_command`."""
    return cli.run_command(
        argv, config.from_argv, _train, lambda wanted: f"Stopped. What is done is kept. To continue: {wanted.command()}"
    )


def _train(wanted: config.Config) -> None:
    # Imported late: TensorFlow takes seconds, and --help or a bad flag needs none of it.
    with logs.silenced():
        from trainer import training
        from trainer.models import strategies

    if wanted.tune and workers.find_role(wanted) == "worker":
        training.help_search(wanted)
    elif strategies.is_helper(wanted):
        training.help_fine_tune(wanted)
    else:
        training.train(wanted)


if __name__ == "__main__":
    sys.exit(main())
