"""Millions of pictures on several machines: stores of files, manifest, order of work, workers on Ray, results."""
