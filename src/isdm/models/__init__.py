"""Networks: the semantic diffusion U-Net, the published checkpoints' form, downstream segmenters."""
