"""The mathematics of the diffusion process; the denoiser comes as a callable."""
