import numpy as np
import pytest
from diffusers import DDPMScheduler
from safetensors.torch import load_file

from isdm.config import NoiseScheduleName
from isdm.diffusion.schedule import (
    LEAST_LOG_SNR,
    cosine_betas,
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
    with pytest.raises(ConfigError, match="at least 21"):
        linear_betas(20)
    assert linear_betas(21)[-1] < 1


def test_cosine_betas_make_the_signal_fall_as_a_squared_cosine() -> None:
    betas = cosine_betas(1000)
    f = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    assert Process(betas).bars[:-1] == pytest.approx(f[1:-1] / f[0], rel=1e-9)
    assert betas[-1] == 0.999
    assert betas[-2] < 0.999
    assert betas.dtype == np.float64


@pytest.mark.parametrize("num_timesteps", [10, 250, 1000])
def test_cosine_betas_are_those_of_diffusers(num_timesteps: int) -> None:
    theirs = DDPMScheduler(num_timesteps, beta_schedule="squaredcos_cap_v2").betas
    assert cosine_betas(num_timesteps) == pytest.approx(theirs.double().numpy(), rel=1e-6)


@pytest.mark.parametrize("num_timesteps", [2, 50, 1000])
def test_cosine_tables_are_finite(num_timesteps: int) -> None:
    schedule = training_schedule(num_timesteps, "cosine")
    assert np.array_equal(schedule.betas, cosine_betas(num_timesteps))
    assert schedule.timestep_map.tolist() == training_schedule(1000).timestep_map[:: 1000 // num_timesteps].tolist()
    for name in ("snr", "posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef_x_t"):
        assert np.isfinite(getattr(schedule, name)).all(), name
    assert (schedule.snr > 0).all()


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_snr_is_signal_to_noise_power(name: NoiseScheduleName) -> None:
    oracle, one = Process(training_schedule(50, name).betas), np.ones(1)
    powers = [(oracle.x_t(one, i, 0 * one) ** 2 / oracle.x_t(0 * one, i, one) ** 2).item() for i in range(50)]
    assert training_schedule(50, name).snr == pytest.approx(powers)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_posterior_tables_agree_with_the_oracle(name: NoiseScheduleName) -> None:
    schedule = training_schedule(50, name)
    oracle = Process(schedule.betas)
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


def test_log_snr_spacing_starts_where_the_linear_process_ends() -> None:
    linear, cosine = training_schedule(), training_schedule(name="cosine")
    assert log_snr_timesteps(linear, 20, LEAST_LOG_SNR["cosine"])[-1] == 999
    for count in (2, 20, 50):
        steps = log_snr_timesteps(cosine, count, LEAST_LOG_SNR["cosine"])
        assert steps[0] == 0
        assert np.log(cosine.snr[steps[-1]]) == pytest.approx(np.log(linear.snr[-1]), abs=0.2)
    gaps = np.diff(np.log(cosine.snr[log_snr_timesteps(cosine, 20, LEAST_LOG_SNR["cosine"])]))
    assert gaps == pytest.approx(gaps.mean(), rel=0.25)
    assert log_snr_timesteps(cosine, 1000, LEAST_LOG_SNR["cosine"]).tolist() == list(range(1000))


def test_a_rescaled_cosine_schedule_may_be_short() -> None:
    schedule = rescaled_schedule(10, "cosine")
    assert schedule.timestep_map.tolist() == list(range(0, 1000, 100))
    assert np.array_equal(schedule.betas, cosine_betas(10))


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
