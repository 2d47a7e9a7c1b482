"""The study: what synthetic pairs bring to segmenters on real test images."""
