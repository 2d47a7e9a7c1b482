"""Paint new images for given masks, make synthetic segmentation datasets, measure what they bring."""
