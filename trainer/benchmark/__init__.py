"""Ratios against the tutorial's recipe: `python -m trainer.benchmark`; 40 minutes on 2 cores, `--quick` under 3."""
