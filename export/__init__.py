"""From a run folder to what other programs run: `python -m export`."""
