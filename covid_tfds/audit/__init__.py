"""What an auditor asks of a dataset before believing a score on it: `python -m covid_tfds.audit --help`.

Leaks, duplicates, labels and licences; and what tells the classes apart without a look at the lungs.
"""
