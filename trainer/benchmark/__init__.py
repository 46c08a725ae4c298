"""Ratios against the tutorial's recipe: `python -m trainer.benchmark`; about 40 minutes on 2 cores, `--quick` 2."""
