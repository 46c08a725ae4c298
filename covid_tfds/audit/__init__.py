"""Audit a dataset for leaks, duplicates, wrong labels, missing licences and shortcuts."""
