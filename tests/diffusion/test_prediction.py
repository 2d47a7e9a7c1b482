import numpy as np
import pytest
import torch

from isdm.config import NoiseScheduleName, Prediction
from isdm.diffusion.prediction import loss_weights, predict_x_start, prediction_target
from isdm.diffusion.process import q_sample
from isdm.diffusion.schedule import NoiseSchedule, training_schedule
from oracle import Process

STEPS = (0, 1, 400, 998, 999)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    shape = (len(STEPS), 3, 5, 4)
    values = {"x_start": rng.uniform(-1, 1, shape), "noise": rng.standard_normal(shape)}
    return {name: torch.from_numpy(value).float() for name, value in values.items()}


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_targets_agree_with_the_oracle(tensors: dict[str, torch.Tensor], name: NoiseScheduleName) -> None:
    schedule = training_schedule(name=name)
    oracle, steps = Process(schedule.betas), torch.tensor(STEPS)
    x_start, noise = tensors["x_start"], tensors["noise"]
    assert torch.equal(prediction_target("eps", schedule, x_start, noise, steps), noise)
    velocity = prediction_target("v", schedule, x_start, noise, steps)
    for row, i in enumerate(STEPS):
        expected = oracle.velocity(x_start[row].double().numpy(), i, noise[row].double().numpy())
        assert velocity[row].numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_x_start_agrees_with_the_oracle(
    tensors: dict[str, torch.Tensor], name: NoiseScheduleName, prediction: Prediction
) -> None:
    schedule = training_schedule(name=name)
    oracle, steps = Process(schedule.betas), torch.tensor(STEPS)
    x_t, predicted = tensors["x_start"], tensors["noise"]  # any two pictures will do
    ours = predict_x_start(prediction, schedule, x_t, steps, predicted)
    for row, i in enumerate(STEPS):
        exact_x_t, eps = x_t[row].double().numpy(), predicted[row].double().numpy()
        if prediction == "v":
            eps = oracle.eps_of_velocity(exact_x_t, i, eps)
        expected = oracle.x_start(exact_x_t, i, eps)
        rounding = 1e-6 / np.sqrt(oracle.bars[i]) if prediction == "eps" else 1e-6
        assert ours[row].numpy() == pytest.approx(expected, rel=1e-6, abs=rounding)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_target_leads_back_to_x_start(tensors: dict[str, torch.Tensor], name: NoiseScheduleName) -> None:
    schedule, steps = training_schedule(name=name), torch.tensor(STEPS)
    x_start, noise = tensors["x_start"], tensors["noise"]
    x_t = q_sample(schedule, x_start, steps, noise)
    back: dict[Prediction, torch.Tensor] = {}
    for prediction in ("eps", "v"):
        target = prediction_target(prediction, schedule, x_start, noise, steps)
        back[prediction] = predict_x_start(prediction, schedule, x_t, steps, target) - x_start
    assert back["v"].abs().max() < 1e-6
    # Rounding of 1e-7 divided by sqrt(alphas_cumprod): 6e-3 at the end of linear, 5e-5 at that of cosine.
    loss_of_digits = torch.from_numpy(schedule.alphas_cumprod**-0.5)[steps].view(-1, 1, 1, 1)
    assert (back["eps"].abs() < 1e-6 * loss_of_digits).all()


def test_min_snr_weights_by_hand() -> None:
    bars = np.array([0.9, 0.75, 0.5, 0.1])  # SNR 9, 3, 1, 1/9
    schedule = NoiseSchedule(1 - bars / np.append(1, bars[:-1]), np.arange(4.0))
    steps = torch.tensor([3, 0, 1, 2])
    eps, v = (loss_weights(prediction, "min-snr", schedule, steps) for prediction in ("eps", "v"))
    assert eps.numpy() == pytest.approx([1, 5 / 9, 1, 1])
    assert v.numpy() == pytest.approx([1 / 10, 5 / 10, 3 / 4, 1 / 2])
    assert eps.dtype == v.dtype == torch.float32
    assert loss_weights("v", "uniform", schedule, steps).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_min_snr_weighs_the_same_error_of_x_start_alike(name: NoiseScheduleName) -> None:
    """Whatever is predicted, an error of x_0 counts min(SNR, 5) times."""
    schedule, steps = training_schedule(name=name), torch.arange(0, 1000, 37)
    x_start, wrong, noise = torch.zeros(len(steps), 1), torch.ones(len(steps), 1), torch.zeros(len(steps), 1)
    x_t = q_sample(schedule, x_start, steps, noise)
    snr = schedule.snr[steps.numpy()]
    implied_noise = torch.from_numpy(-np.sqrt(snr)).float().view(-1, 1)  # of `wrong`, given x_t = 0
    for prediction in ("eps", "v"):
        target = prediction_target(prediction, schedule, x_start, noise, steps)
        predicted = prediction_target(prediction, schedule, wrong, implied_noise, steps)
        assert predict_x_start(prediction, schedule, x_t, steps, predicted).numpy() == pytest.approx(1, rel=1e-5)
        weighted = (target - predicted)[:, 0] ** 2 * loss_weights(prediction, "min-snr", schedule, steps)
        assert weighted.numpy() == pytest.approx(np.minimum(snr, 5), rel=1e-4)
