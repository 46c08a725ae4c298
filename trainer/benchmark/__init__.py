"""Ratios against the tutorial's recipe: `python -m trainer.benchmark`; 35 minutes on 2 cores, `--quick` under 3."""
