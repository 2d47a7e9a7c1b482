"""Datasets: the folder form, layouts that import into it, splits, transforms."""
