"""Metrics: segmentation agreement, and statistics over repeats."""
