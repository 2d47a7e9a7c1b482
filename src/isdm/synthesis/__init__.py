"""Synthetic pairs: where masks come from, painting images for them, judging the result."""
