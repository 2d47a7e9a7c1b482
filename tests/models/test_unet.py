import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from isdm.config import TrainConfig, build, with_preset
from isdm.data.semantic_map import semantic_map
from isdm.diffusion.process import hybrid_loss, q_sample
from isdm.diffusion.samplers import sample_images, sampling_schedule
from isdm.diffusion.schedule import training_schedule
from isdm.models.layers import SelfAttention, timestep_embedding
from isdm.models.published import load_published_state, renamed, unet_options
from isdm.models.spade import Conditions, Spade
from isdm.models.unet import SemanticUNet
from oracle import attention, conv, group_norm

VECTORS = Path(__file__).parents[1] / "data" / "unet_vectors.safetensors"


def formula(shape: tuple[int, ...], phase: float, size: float = 1.0) -> torch.Tensor:
    """Values that need no random generator: a sine over the elements."""
    count = int(np.prod(shape))
    return torch.from_numpy(size * np.sin(0.7 * np.arange(count) + phase)).float().view(shape)


def formula_unet(**changes: object) -> SemanticUNet:
    """A small network whose weights follow a formula."""
    options = {
        "num_classes": 3,
        "base_channels": 32,
        "channel_multipliers": (1, 2),
        "num_res_blocks": 1,
        "attention_downsamplings": (2,),
        "attention_head_channels": 16,
        "spade_channels": 16,
    }
    unet = SemanticUNet(**(options | changes))
    for number, (_, parameter) in enumerate(sorted(unet.named_parameters())):
        parameter.data = formula(tuple(parameter.shape), float(number), 0.05)
    return unet.eval()


def formula_inputs() -> dict[str, torch.Tensor]:
    mask = (torch.arange(2 * 16 * 16) // 7 % 4).view(2, 16, 16)
    return {
        "x_t": formula((2, 3, 16, 16), 0.3),
        "t": torch.tensor([10 / 3, 637.0]),
        "semantic_map": semantic_map(torch.where(mask == 3, 255, mask), 3),
    }


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("tiny", 6_110_758), ("small", 33_560_006), ("base", 187_956_742), ("paper", 652_026_118)],
)
def test_presets_have_their_documented_size(preset: str, parameters: int) -> None:
    config = build(TrainConfig, with_preset({"preset": preset}))
    with torch.device("meta"):
        unet = SemanticUNet(num_classes=2, **config.unet.model_dump())
    assert sum(parameter.numel() for parameter in unet.parameters()) == parameters


def test_network_gives_the_recorded_outputs() -> None:
    """The vectors were recorded by tests/record_vectors.py when the network agreed with the published one."""
    vectors, unet, inputs = load_file(VECTORS), formula_unet(), formula_inputs()
    with torch.no_grad():
        assert torch.allclose(unet(**inputs), vectors["output"], atol=1e-5)
        null = unet(**(inputs | {"semantic_map": torch.zeros_like(inputs["semantic_map"])}))
    assert torch.allclose(null, vectors["output_null"], atol=1e-5)
    assert (vectors["output"] - vectors["output_null"]).abs().max() > 0.01


def test_encoder_does_not_see_the_mask() -> None:
    unet, inputs = formula_unet(), formula_inputs()
    with torch.no_grad():
        encoded = unet.encode(inputs["x_t"], inputs["t"])
        parts = unet.decode(encoded, unet.conditions(inputs["semantic_map"]))
        assert torch.equal(parts, unet(**inputs))


def test_new_network_predicts_zero() -> None:
    """The last convolution starts at zero, and so does that of every block."""
    torch.manual_seed(0)
    unet = SemanticUNet(num_classes=3, base_channels=32, channel_multipliers=(1, 2), num_res_blocks=1)
    assert unet(**formula_inputs()).abs().max() == 0


@pytest.mark.parametrize("budget", [0, 200_000, 10**9])
def test_kept_gamma_and_beta_change_nothing(budget: int) -> None:
    unet, inputs = formula_unet(), formula_inputs()
    with torch.no_grad():
        conditions = unet.conditions(inputs["semantic_map"], budget)
        first = unet.decode(unet.encode(inputs["x_t"], inputs["t"]), conditions)
        again = unet.decode(unet.encode(inputs["x_t"] * 0.5, inputs["t"]), conditions)
        assert torch.equal(first, unet(**inputs))
        assert torch.equal(again, unet(inputs["x_t"] * 0.5, inputs["t"], inputs["semantic_map"]))
    assert conditions.over_budget == (budget == 200_000)


def test_size_that_is_no_multiple_is_padded_with_nothing() -> None:
    """The padding is zeros in image and map, and the result is cut back to the image."""
    unet, inputs = formula_unet(), formula_inputs()
    cut = {"x_t": inputs["x_t"][:, :, :15, :13], "semantic_map": inputs["semantic_map"][:, :, :15, :13]}
    padded = {name: torch.nn.functional.pad(value, (0, 1, 0, 1)) for name, value in cut.items()}
    with torch.no_grad():
        output = unet(cut["x_t"], inputs["t"], cut["semantic_map"])
        assert output.shape == (2, 6, 15, 13)
        assert torch.equal(output, unet(padded["x_t"], inputs["t"], padded["semantic_map"])[:, :, :15, :13])


def in_patches(tensor: torch.Tensor, side: int) -> torch.Tensor:
    """(N, C, H, W) as (N, C * side * side, H / side, W / side): written out, channel by channel, row by row."""
    n, c, h, w = tensor.shape
    return torch.stack(
        [tensor[:, i, y::side, x::side] for i in range(c) for y in range(side) for x in range(side)], dim=1
    ).reshape(n, c * side * side, h // side, w // side)


def test_patches_are_channels_of_a_smaller_picture() -> None:
    """A network with patches is the one without them on images and maps of more channels (Luhman 2022, 3)."""
    inputs = formula_inputs()
    patched = formula_unet(patch_size=2, attention_downsamplings=(4,))
    plain = formula_unet(in_channels=12, num_classes=12, attention_downsamplings=(2,))
    small = {name: in_patches(inputs[name], 2) for name in ("x_t", "semantic_map")}
    with torch.no_grad():
        output = patched(**inputs)
        expected = plain(small["x_t"], inputs["t"], small["semantic_map"])
    assert output.shape == (2, 6, 16, 16)
    assert output.abs().max() > 0.01
    assert torch.allclose(in_patches(output, 2), expected, atol=1e-6)


def test_patches_of_a_size_that_is_no_multiple() -> None:
    unet, inputs = formula_unet(patch_size=4), formula_inputs()
    assert unet.size_divisor == 8
    cut = unet(inputs["x_t"][:, :, :15, :13], inputs["t"], inputs["semantic_map"][:, :, :15, :13])
    assert cut.shape == (2, 6, 15, 13)


def test_recomputed_activations_give_the_same_gradients() -> None:
    inputs = formula_inputs()

    def gradients(recompute: bool) -> list[torch.Tensor]:
        unet = formula_unet().train()
        if recompute:
            unet.enable_gradient_checkpointing()
        unet(**inputs).square().mean().backward()
        return [parameter.grad for parameter in unet.parameters() if parameter.grad is not None]

    for ours, expected in zip(gradients(True), gradients(False), strict=True):
        assert torch.allclose(ours, expected, atol=1e-7)


def test_first_level_of_half_width() -> None:
    """The published network for 512x512 images: multipliers 0.5, 1, 1, 2, 2, 4, 4."""
    unet = formula_unet(base_channels=64, channel_multipliers=(0.5, 1), spade_channels=8)
    assert unet.stem.out_channels == 32
    assert unet.time_embedding[0].in_features == 64
    assert unet(**formula_inputs()).shape == (2, 6, 16, 16)


@pytest.mark.parametrize("patch_size", [1, 2])
def test_channels_last_gives_the_same_numbers(patch_size: int) -> None:
    unet, inputs = formula_unet(patch_size=patch_size), formula_inputs()
    with torch.no_grad():
        plain = unet(**inputs)
        unet.to(memory_format=torch.channels_last)
        inputs["x_t"] = inputs["x_t"].contiguous(memory_format=torch.channels_last)
        assert torch.allclose(unet(**inputs), plain, atol=1e-5)


def test_spade_agrees_with_the_oracle() -> None:
    torch.manual_seed(0)
    layer = Spade(8, num_classes=3, hidden_channels=5, num_groups=4)
    h, mask = torch.randn(2, 8, 6, 6), torch.randint(0, 3, (2, 12, 12))
    one_hot = semantic_map(mask, 3)
    weights = {name: value.double().numpy() for name, value in layer.state_dict().items()}
    small = one_hot.double().numpy()[:, :, ::2, ::2]  # nearest neighbour at half the size
    hidden = np.maximum(conv(small, weights["shared.weight"], weights["shared.bias"]), 0)
    gamma = conv(hidden, weights["to_gamma.weight"], weights["to_gamma.bias"])
    beta = conv(hidden, weights["to_beta.weight"], weights["to_beta.bias"])
    expected = group_norm(h.double().numpy(), 4) * (1 + gamma) + beta
    with torch.no_grad():
        ours = layer(h, Conditions(one_hot, "nearest"))
    assert ours.numpy() == pytest.approx(expected, abs=1e-5)


def test_area_resizing_keeps_a_single_pixel() -> None:
    one_hot = torch.zeros(1, 2, 8, 8)
    one_hot[0, 1, 3, 3] = 1
    small = torch.zeros(1, 1, 2, 2)
    assert Conditions(one_hot, "nearest").at_size_of(small)[0, 1].sum() == 0
    assert Conditions(one_hot, "area").at_size_of(small)[0, 1].sum() == pytest.approx(1 / 16)


def test_attention_agrees_with_the_oracle() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(12, head_channels=4, num_groups=3)
    torch.nn.init.normal_(layer.projection.weight)
    x = torch.randn(2, 12, 3, 5)
    weights = {name: value.double().numpy() for name, value in layer.state_dict().items()}
    h = group_norm(x.double().numpy(), 3).reshape(2, 12, 15)
    qkv = np.einsum("oi,nil->nol", weights["qkv.weight"][:, :, 0], h) + weights["qkv.bias"][:, None]
    mixed = attention(h, qkv, heads=3)
    projected = np.einsum("oi,nil->nol", weights["projection.weight"][:, :, 0], mixed)
    expected = x.double().numpy() + (projected + weights["projection.bias"][:, None]).reshape(x.shape)
    with torch.no_grad():
        assert layer(x).numpy() == pytest.approx(expected, abs=1e-5)


def test_time_is_not_rounded() -> None:
    whole, fractional = timestep_embedding(torch.tensor([3.0, 10 / 3]), 8)
    angles = (10 / 3) * 10_000 ** (-np.arange(4) / 4)
    assert fractional.numpy() == pytest.approx(np.concatenate([np.cos(angles), np.sin(angles)]), abs=1e-6)
    assert not torch.allclose(whole, fractional)


@pytest.fixture(scope="module")
def vectors(sdm_reference: Path) -> dict[str, torch.Tensor]:
    return load_file(sdm_reference / "reference.safetensors")


@pytest.fixture(scope="module")
def unet(sdm_reference: Path) -> SemanticUNet:
    state = load_published_state(sdm_reference / "checkpoint.pt")
    published = json.loads((sdm_reference / "config.json").read_text())
    unet = SemanticUNet(**unet_options(state, int(published["num_head_channels"])))
    unet.load_state_dict(renamed(state))
    return unet.eval()


class TestPublished:
    """Agreement with the published SDM on its reference vectors."""

    @torch.no_grad()
    def test_output(self, unet: SemanticUNet, vectors: dict[str, torch.Tensor]) -> None:
        one_hot = semantic_map(vectors["mask"], 3)
        cases = {
            "model_output": (vectors["t"].float(), one_hot),
            "model_output_null": (vectors["t"].float(), torch.zeros_like(one_hot)),
            "model_output_fractional": (vectors["t_fractional"], one_hot),
        }
        for name, (t, conditions) in cases.items():
            assert (unet(vectors["x_t"], t, conditions) - vectors[name]).abs().max() < 1e-5, name

    def test_losses(self, vectors: dict[str, torch.Tensor]) -> None:
        schedule = training_schedule()
        x_t = q_sample(schedule, vectors["x_start"], vectors["t"], vectors["noise"])
        assert torch.allclose(x_t, vectors["x_t"], atol=1e-6)
        loss = hybrid_loss(schedule, vectors["model_output"], vectors["x_start"], x_t, vectors["t"], vectors["noise"])
        for name, ours in (("loss_mse", loss.mse), ("loss_vb", loss.vb), ("loss", loss.total)):
            assert (ours - vectors[name]).abs().max() < 1e-5, name

    @pytest.mark.parametrize(
        ("name", "steps", "sampler", "timesteps"),
        [
            ("respaced10", 10, "ddpm", "respaced"),
            ("rescaled25", 25, "ddpm", "rescaled"),
            ("ddim10", 10, "ddim", "respaced"),
        ],
    )
    def test_trajectory(
        self,
        unet: SemanticUNet,
        vectors: dict[str, torch.Tensor],
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        steps: int,
        sampler: str,
        timesteps: str,
    ) -> None:
        noise = vectors[f"{name}_noise"]
        if sampler == "ddpm":  # the first is x_T, the others replace what the scheduler would draw
            drawn = iter(noise[1:])
            target = "diffusers.schedulers.scheduling_ddpm.randn_tensor"
            monkeypatch.setattr(target, lambda *_, **__: next(drawn))
            noise = noise[0]
        one_hot = semantic_map(vectors["mask"], 3)
        images = sample_images(
            unet,
            unet.conditions(one_hot, 10**9),
            unet.conditions(torch.zeros_like(one_hot[:1]), 10**9),
            sampling_schedule(1000, steps, sampler, timesteps),  # type: ignore[arg-type]
            sampler=sampler,  # type: ignore[arg-type]
            guidance_scale=1.5,
            generators=[torch.Generator()] * len(one_hot),
            x_T=noise,
        )
        assert (images - vectors[f"{name}_sample"]).abs().max() < 1e-3
