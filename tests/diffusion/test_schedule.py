import numpy as np
import pytest
from safetensors.torch import load_file

from isdm.diffusion.schedule import (
    ddim_timesteps,
    linear_betas,
    log_snr_timesteps,
    rescaled_schedule,
    respace,
    respaced_timesteps,
    training_schedule,
)
from isdm.errors import ConfigError
from oracle import Process


def test_betas_are_those_of_the_paper() -> None:
    betas = linear_betas(1000)
    assert betas[0] == pytest.approx(1e-4)
    assert betas[-1] == pytest.approx(0.02)
    assert np.allclose(np.diff(betas), (0.02 - 1e-4) / 999)
    assert betas.dtype == np.float64


def test_shorter_process_scales_its_betas() -> None:
    assert linear_betas(250)[[0, -1]] == pytest.approx([4e-4, 0.08])


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 20"):
        linear_betas(19)


def test_posterior_tables_agree_with_the_oracle() -> None:
    schedule, oracle = training_schedule(50), Process(linear_betas(50))
    x0, x_t = np.array([0.3]), np.array([-0.8])
    for i in range(50):
        mean, variance = oracle.posterior(x0, x_t, i)
        ours = schedule.posterior_mean_coef_x_start[i] * x0 + schedule.posterior_mean_coef_x_t[i] * x_t
        assert ours == pytest.approx(mean)
        assert schedule.posterior_variance[i] == pytest.approx(variance)
    assert schedule.posterior_log_variance_clipped[0] == schedule.posterior_log_variance_clipped[1]


@pytest.mark.parametrize("count", [1, 2, 7, 10, 25, 50, 300, 999, 1000])
def test_respacing_keeps_the_signal_to_noise_of_the_steps_it_keeps(count: int) -> None:
    schedule = training_schedule()
    steps = respaced_timesteps(1000, count)
    assert len(set(steps.tolist())) == count
    respaced = respace(schedule, steps)
    assert np.allclose(respaced.alphas_cumprod, schedule.alphas_cumprod[steps], rtol=1e-12)
    assert respaced.timestep_map.tolist() == steps.tolist()


def test_300_respaced_steps_are_the_published_ones() -> None:
    steps = respaced_timesteps(1000, 300)
    assert steps[:4].tolist() == [0, 3, 7, 10]
    assert steps[-1] == 999


def test_ddim_spacing_counts_from_zero() -> None:
    assert ddim_timesteps(1000, 10).tolist() == list(range(0, 1000, 100))
    assert len(ddim_timesteps(1000, 300)) == 300


@pytest.mark.parametrize("count", [2, 12, 20, 300, 1000])
def test_log_snr_spacing_is_distinct_and_spans_the_process(count: int) -> None:
    steps = log_snr_timesteps(training_schedule(), count)
    assert len(steps) == count
    assert (np.diff(steps) > 0).all()
    assert steps[[0, -1]].tolist() == [0, 999]


def test_rescaled_steps_are_told_as_fractions_of_1000() -> None:
    schedule = rescaled_schedule(300)
    assert schedule.timestep_map[1] == pytest.approx(10 / 3, abs=1e-12)
    ratio = np.sqrt(1 - schedule.alphas_cumprod) / np.sqrt(
        1 - np.interp(schedule.timestep_map, np.arange(1000), training_schedule().alphas_cumprod)
    )
    assert ratio[[0, 1, 5]] == pytest.approx([1.83, 1.24, 1.07], abs=0.01)
    assert abs(ratio[50] - 1) < 0.01


def test_schedules_equal_the_published_ones(sdm_reference) -> None:  # type: ignore[no-untyped-def]
    vectors = load_file(sdm_reference / "reference.safetensors")
    assert respaced_timesteps(1000, 300).tolist() == vectors["respaced300_timesteps"].tolist()
    respaced = respace(training_schedule(), respaced_timesteps(1000, 10))
    assert np.allclose(respaced.betas, vectors["respaced10_betas"].numpy(), rtol=1e-12)
    assert np.allclose(rescaled_schedule(25).betas, vectors["rescaled25_betas"].numpy(), rtol=1e-12)
    assert ddim_timesteps(1000, 10).tolist() == vectors["ddim10_timesteps"].tolist()
