"""The equations again, in float64 NumPy, written from the papers and sharing no code with the product."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]


class Process:
    """Ho et al. 2020 and Nichol and Dhariwal 2021 for given betas (T,)."""

    def __init__(self, betas: Array) -> None:
        self.betas = np.asarray(betas, np.float64)
        self.bars = np.array([np.prod(1 - self.betas[: i + 1]) for i in range(len(self.betas))])

    def bar_before(self, i: int) -> float:
        return float(self.bars[i - 1]) if i > 0 else 1.0

    def x_t(self, x0: Array, i: int, noise: Array) -> Array:
        return np.sqrt(self.bars[i]) * x0 + np.sqrt(1 - self.bars[i]) * noise

    def x_start(self, x_t: Array, i: int, eps: Array) -> Array:
        return (x_t - np.sqrt(1 - self.bars[i]) * eps) / np.sqrt(self.bars[i])

    def velocity(self, x0: Array, i: int, noise: Array) -> Array:
        """Salimans and Ho 2022, appendix D: the derivative of x_t = cos(phi) x_0 + sin(phi) noise by phi."""
        phi = np.arctan2(np.sqrt(1 - self.bars[i]), np.sqrt(self.bars[i]))
        return np.asarray(np.cos(phi) * noise - np.sin(phi) * x0)

    def eps_of_velocity(self, x_t: Array, i: int, velocity: Array) -> Array:
        """The same appendix: eps = sin(phi) x_t + cos(phi) v."""
        phi = np.arctan2(np.sqrt(1 - self.bars[i]), np.sqrt(self.bars[i]))
        return np.asarray(np.sin(phi) * x_t + np.cos(phi) * velocity)

    def posterior(self, x0: Array, x_t: Array, i: int) -> tuple[Array, float]:
        """Mean and variance of the Gaussian product q(x_t | x_{t-1}) q(x_{t-1} | x_0), from its precisions."""
        before, beta = self.bar_before(i), self.betas[i]
        if before == 1.0:
            return x0, 0.0
        precision = (1 - beta) / beta + 1 / (1 - before)
        mean = (np.sqrt(1 - beta) / beta * x_t + np.sqrt(before) / (1 - before) * x0) / precision
        return mean, 1 / precision

    def log_variances(self, i: int) -> tuple[float, float]:
        """log beta tilde (that of step 1 at step 0) and log beta."""
        j = max(i, 1)
        return float(np.log(self.posterior(np.zeros(1), np.zeros(1), j)[1])), float(np.log(self.betas[i]))

    def model_log_variance(self, v: Array, i: int) -> Array:
        lower, upper = self.log_variances(i)
        return lower + (v + 1) / 2 * (upper - lower)

    def losses(self, eps: Array, v: Array, x0: Array, x_t: Array, i: int, noise: Array) -> tuple[float, float]:
        """Simple loss and the variational bound of the step, in bits per dimension."""
        mse = float(np.mean((noise - eps) ** 2))
        mean, _ = self.posterior(self.x_start(x_t, i, eps), x_t, i)
        log_variance = self.model_log_variance(v, i)
        if i == 0:
            return mse, float(np.mean(-self.log_likelihood(x0, mean, log_variance))) / np.log(2)
        true_mean, true_variance = self.posterior(x0, x_t, i)
        kl = 0.5 * (
            log_variance
            - np.log(true_variance)
            + (true_variance + (true_mean - mean) ** 2) / np.exp(log_variance)
            - 1
        )
        return mse, float(np.mean(kl)) / np.log(2)

    @staticmethod
    def log_likelihood(x: Array, mean: Array, log_variance: Array) -> Array:
        """Pixels of 8 bits, with the exact normal distribution function."""
        std = np.exp(log_variance / 2)

        def cdf(edge: Array) -> Array:
            return np.asarray(0.5 * (1 + erf((edge - mean) / std / np.sqrt(2))))

        above = np.where(x > 0.999, 1.0, cdf(x + 1 / 255))
        below = np.where(x < -0.999, 0.0, cdf(x - 1 / 255))
        return np.asarray(np.log(np.maximum(above - below, 1e-12)))

    def ancestral_step(self, x_t: Array, i: int, eps: Array, v: Array, noise: Array) -> Array:
        x0 = np.clip(self.x_start(x_t, i, eps), -1, 1)
        mean, _ = self.posterior(x0, x_t, i)
        return mean if i == 0 else mean + np.exp(self.model_log_variance(v, i) / 2) * noise

    def ddim_step(self, x_t: Array, i: int, eps: Array) -> Array:
        x0 = np.clip(self.x_start(x_t, i, eps), -1, 1)
        eps = (x_t - np.sqrt(self.bars[i]) * x0) / np.sqrt(1 - self.bars[i])
        before = self.bar_before(i)
        return np.asarray(np.sqrt(before) * x0 + np.sqrt(1 - before) * eps)


def group_norm(x: Array, groups: int, eps: float = 1e-5) -> Array:
    """Normalise (N, C, H, W) over each group of channels and all positions."""
    grouped = x.reshape(len(x), groups, -1)
    centred = grouped - grouped.mean(axis=2, keepdims=True)
    return np.asarray((centred / np.sqrt((centred**2).mean(axis=2, keepdims=True) + eps)).reshape(x.shape))


def conv(x: Array, weight: Array, bias: Array) -> Array:
    """Cross-correlation with zero padding: (N, I, H, W), (O, I, k, k), (O,) -> (N, O, H, W)."""
    n, _, height, width = x.shape
    k = weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    out = np.zeros((n, len(weight), height, width)) + bias[None, :, None, None]
    for dy in range(k):
        for dx in range(k):
            out += np.einsum("nihw,oi->nohw", padded[:, :, dy : dy + height, dx : dx + width], weight[:, :, dy, dx])
    return out


def attention(x: Array, qkv: Array, heads: int) -> Array:
    """Multi-head self-attention for queries, keys and values (N, 3C, L), head by head: (N, C, L)."""
    n, channels, length = x.shape
    width = channels // heads
    out = np.zeros((n, channels, length))
    for image in range(n):
        for head in range(heads):
            q, k, v = qkv[image, head * 3 * width : (head + 1) * 3 * width].reshape(3, width, length)
            scores = q.T @ k / np.sqrt(width)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            out[image, head * width : (head + 1) * width] = v @ weights.T
    return out
