import numpy as np
import pytest
import torch

from isdm.config import LossWeighting, NoiseScheduleName, Prediction
from isdm.data.transforms import to_model_range
from isdm.diffusion.prediction import prediction_target
from isdm.diffusion.process import (
    discretized_gaussian_log_likelihood,
    hybrid_loss,
    learned_range_log_variance,
    posterior_mean,
    q_sample,
)
from isdm.diffusion.schedule import training_schedule
from oracle import Process

STEPS = (0, 1, 2, 400, 999)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    """x_start on the grid of 8-bit pixels, noise and a network output, for each of STEPS."""
    rng = np.random.default_rng(0)
    shape = (len(STEPS), 3, 5, 4)
    pixels = rng.integers(0, 256, shape) / 127.5 - 1
    noise = rng.standard_normal(shape)
    values = {
        "x_start": pixels,
        "noise": noise,
        "eps": noise + 0.1 * rng.standard_normal(shape),
        "v": rng.uniform(-1.2, 1.2, shape),
    }
    return {name: torch.from_numpy(value).float() for name, value in values.items()}


def test_equations_agree_with_the_oracle(tensors: dict[str, torch.Tensor]) -> None:
    schedule, oracle = training_schedule(), Process(training_schedule().betas)
    steps = torch.tensor(STEPS)
    x_t = q_sample(schedule, tensors["x_start"], steps, tensors["noise"])
    exact = {name: value.double().numpy() for name, value in tensors.items()}
    for row, i in enumerate(STEPS):
        expected = oracle.x_t(exact["x_start"][row], i, exact["noise"][row])
        assert x_t[row].numpy() == pytest.approx(expected, abs=1e-5)
        mean, _ = oracle.posterior(exact["x_start"][row], expected, i)
        ours = posterior_mean(schedule, tensors["x_start"], x_t, steps)[row]
        assert ours.numpy() == pytest.approx(mean, abs=1e-5)
        log_variance = learned_range_log_variance(schedule, tensors["v"], steps)[row]
        assert log_variance.numpy() == pytest.approx(
            oracle.model_log_variance(exact["v"][row], i), rel=1e-5, abs=1e-5
        )


@pytest.mark.parametrize("weighting", ["uniform", "min-snr"])
@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_hybrid_loss_agrees_with_the_oracle(
    tensors: dict[str, torch.Tensor], name: NoiseScheduleName, prediction: Prediction, weighting: LossWeighting
) -> None:
    schedule = training_schedule(name=name)
    oracle = Process(schedule.betas)
    steps = torch.tensor(STEPS)
    x_t = q_sample(schedule, tensors["x_start"], steps, tensors["noise"])
    exact = {name: value.double().numpy() for name, value in tensors.items()} | {"x_t": x_t.double().numpy()}
    predicted = tensors["eps"]
    if prediction == "v":  # the velocity of the same wrong noise
        rows = [oracle.velocity(exact["x_start"][row], i, exact["eps"][row]) for row, i in enumerate(STEPS)]
        predicted = torch.from_numpy(np.stack(rows)).float()
    output = torch.cat([predicted, tensors["v"]], dim=1)
    loss = hybrid_loss(
        schedule, output, tensors["x_start"], x_t, steps, tensors["noise"], prediction=prediction, weighting=weighting
    )
    for row, i in enumerate(STEPS):
        x_start, noise, eps = exact["x_start"][row], exact["noise"][row], exact["eps"][row]
        if prediction == "v":
            eps = oracle.eps_of_velocity(exact["x_t"][row], i, predicted[row].double().numpy())
        mse, vb = oracle.losses(eps, exact["v"][row], x_start, exact["x_t"][row], i, noise)
        snr = oracle.bars[i] / (1 - oracle.bars[i])
        if prediction == "v":
            target = oracle.velocity(x_start, i, noise)
            mse = np.mean((target - predicted[row].double().numpy()) ** 2).item()
        if weighting == "min-snr":
            mse *= min(snr, 5) / (snr if prediction == "eps" else snr + 1)
        assert loss.mse[row].item() == pytest.approx(mse, rel=1e-4)
        # At step 0 the product uses the published tanh approximation of the normal distribution.
        assert loss.vb[row].item() == pytest.approx(vb, rel=2e-2 if i == 0 else 1e-3)
    assert torch.equal(loss.total, loss.mse + loss.vb)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_bound_trains_the_variance_alone(tensors: dict[str, torch.Tensor], prediction: Prediction) -> None:
    schedule, steps = training_schedule(), torch.tensor(STEPS)
    x_t = q_sample(schedule, tensors["x_start"], steps, tensors["noise"])
    predicted = prediction_target(prediction, schedule, tensors["x_start"], tensors["eps"], steps)
    output = torch.cat([predicted, tensors["v"]], dim=1).requires_grad_()
    loss = hybrid_loss(schedule, output, tensors["x_start"], x_t, steps, tensors["noise"], prediction=prediction)
    loss.vb.sum().backward()
    assert output.grad is not None
    assert output.grad[:, :3].abs().max() == 0
    assert output.grad[:, 3:].abs().amax(dim=(1, 2, 3)).min() > 0


@pytest.mark.parametrize("log_variance", [-4.0, -9.5])
@pytest.mark.parametrize("mean", [-1.0, 0.1, 0.9995])
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_likelihood_of_all_pixel_values_sums_to_one(bit_depth: int, mean: float, log_variance: float) -> None:
    levels = 2**bit_depth
    values = to_model_range(np.arange(levels).astype(f"uint{bit_depth}").reshape(1, 1, levels, 1), bit_depth).ravel()
    means, log_variances = torch.full((levels,), mean), torch.full((levels,), log_variance)
    total = discretized_gaussian_log_likelihood(values, means, log_variances, bit_depth).double().exp().sum()
    assert total.item() == pytest.approx(1.0, abs=5e-3)
