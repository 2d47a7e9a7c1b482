"""Training: the loop, its checkpoints, the diffusion model and the downstream segmenters."""
