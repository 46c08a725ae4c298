"""Audit a dataset before believing a score on it: leaks, duplicates, labels, licences, shortcuts."""
