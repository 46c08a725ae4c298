"""The search for a better recipe: `python -m trainer --tune`."""
