"""The run folder: file names, result types, loading and saving. All that `export` takes from `trainer`."""
