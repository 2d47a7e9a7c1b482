"""The savings of sampling change no picture: compared with the plain way, two whole passes a step."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from isdm import pipeline as pipeline_module
from isdm.data.dataset import SegmentationClass
from isdm.data.semantic_map import semantic_map
from isdm.diffusion.guidance import guided_output
from isdm.diffusion.samplers import sample_images, sampling_schedule
from isdm.model_info import ModelInfo, training_scheduler
from isdm.models.unet import SemanticUNet
from isdm.pipeline import SemanticDiffusionPipeline, sample_generator, within_memory

SIZE = (20, 28)
"""Height and width, neither alike nor multiples of the network's."""


class TwoWholePasses:
    """The network without any saving: all of it is run for each condition."""

    def __init__(self, unet: SemanticUNet) -> None:
        self.unet = unet

    def encode(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return x_t, t

    def decode(self, encoded: tuple[Tensor, Tensor], conditions: Tensor) -> Tensor:
        self.unet.share_patterns = False
        output: Tensor = self.unet(*encoded, conditions.expand(len(encoded[0]), -1, -1, -1))
        self.unet.share_patterns = True
        return output


@pytest.fixture(params=[1, 2])
def pipeline(request: pytest.FixtureRequest) -> SemanticDiffusionPipeline:
    """A network with random weights in every layer, without and with patches."""
    torch.manual_seed(0)
    unet = SemanticUNet(
        num_classes=3,
        base_channels=16,
        norm_groups=4,
        channel_multipliers=(1, 2, 2),
        num_res_blocks=1,
        spade_channels=8,
        attention_downsamplings=(4,),
        patch_size=request.param,
    ).eval()
    for parameter in unet.parameters():
        if parameter.abs().max() == 0:
            torch.nn.init.normal_(parameter, std=0.1)
    made = SemanticDiffusionPipeline(unet, training_scheduler(1000))
    classes = tuple(SegmentationClass(i, name, (0, 0, 0)) for i, name in enumerate(("ground", "scratch", "dent")))
    made.info = ModelInfo(classes, channels=3, image_size=SIZE, drop_rate=0.1)
    return made


def flat_masks(count: int) -> NDArray[np.uint8]:
    masks = np.zeros((count, *SIZE), np.uint8)
    for index, mask in enumerate(masks):
        mask[3 + index : 12 + index, 5:20] = 1
        mask[:4, -6:] = 2
        mask[-2:, :3] = 255
    return masks


def one_hot(masks: NDArray[np.uint8]) -> Tensor:
    return semantic_map(torch.from_numpy(masks.astype(np.int64)), 3)


def test_a_guided_step_equals_two_whole_passes(pipeline: SemanticDiffusionPipeline) -> None:
    maps = one_hot(flat_masks(3))
    x_t, null = torch.randn(3, 3, *SIZE), torch.zeros_like(maps[:1])
    conditions = pipeline.unet.conditions(maps, 10**9)
    null_conditions = pipeline.unet.conditions(null, 10**9)
    with torch.no_grad():
        for time in (999.0, 500.0, 10 / 3):  # the second and third time from what is kept
            t = torch.full((3,), time)
            plain = guided_output(TwoWholePasses(pipeline.unet), x_t, t, maps, null, 1.5)
            saving = guided_output(pipeline.unet, x_t, t, conditions, null_conditions, 1.5)
            for ours, expected in zip(saving, plain, strict=True):
                assert torch.allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("budget", [0, 40_000, 10**9])
def test_pictures_are_those_of_the_plain_way(
    pipeline: SemanticDiffusionPipeline,
    budget: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    masks = flat_masks(4)
    monkeypatch.setattr(pipeline, "_budget_bytes", lambda: budget)
    options: dict[str, Any] = {"sampler": "dpmsolver++", "guidance_scale": 1.5}
    ours = [pipeline(masks[rows], sample_indices=rows, num_sampling_steps=6, **options) for rows in ([0, 1], [2, 3])]
    x_T = torch.cat([torch.randn((1, 3, *SIZE), generator=sample_generator(0, index)) for index in range(4)])  # noqa: N806
    plain = sample_images(
        TwoWholePasses(pipeline.unet),
        one_hot(masks),
        torch.zeros(1, 3, *SIZE),
        sampling_schedule(1000, 6, "dpmsolver++", "respaced"),
        generators=[torch.Generator()] * 4,
        x_T=x_T,
        **options,
    )
    expected = ((plain + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(np.concatenate(ours) - expected).max() <= 0.51  # rounding to whole values
    assert capsys.readouterr().err.count("gamma and beta") == (1 if budget == 40_000 else 0)


def test_null_map_is_modulated_once_a_model(
    pipeline: SemanticDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = pipeline.unet.conditions
    monkeypatch.setattr(pipeline.unet, "conditions", lambda maps, budget=0: made.append(maps) or real(maps, budget))
    for _ in range(3):
        pipeline(flat_masks(2), num_sampling_steps=2, sampler="ddim")
    assert sum(not maps.any() for maps in made) == 1
    assert len(made) == 4


def test_out_of_memory_paints_fewer_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    tried: list[tuple[int, int]] = []

    def memory_for_three(start: int, stop: int) -> Tensor:
        tried.append((start, stop))
        if stop - start > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return torch.arange(start, stop)

    images, fitting = within_memory(memory_for_three, 10)
    assert (images.tolist(), fitting) == (list(range(10)), 3)
    assert tried == [(0, 10), (0, 5), (0, 3), (3, 6), (6, 9), (9, 10)]
    assert capsys.readouterr().err.count("Out of memory") == 2
    tried.clear()
    assert within_memory(memory_for_three, 4, most=fitting)[0].tolist() == list(range(4))
    assert tried == [(0, 3), (3, 4)]


def test_what_fits_into_memory_is_remembered_for_pictures_of_a_size(
    pipeline: SemanticDiffusionPipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, counts = pipeline_module.sample_images, []

    def memory_for_two(*inputs: Any, **options: Any) -> Tensor:
        counts.append(len(options["generators"]))
        if counts[-1] > 2 and options["x_T"].shape[2:] == SIZE:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(*inputs, **options)

    monkeypatch.setattr(pipeline_module, "sample_images", memory_for_two)
    options: dict[str, Any] = {"num_sampling_steps": 2, "sampler": "ddim"}
    first = pipeline(flat_masks(4), **options)
    assert np.array_equal(pipeline(flat_masks(4), **options), first)
    pipeline(flat_masks(4)[:, :16, :16], **options)
    assert counts == [4, 2, 2, 2, 2, 4]
    assert capsys.readouterr().err.count("Out of memory") == 1
    pipeline.prepare(pipeline.unet.device, torch.float32)
    pipeline(flat_masks(4), **options)
    assert counts[6:] == [4, 2, 2], "another arithmetic takes other memory"


def test_other_errors_are_not_taken_for_out_of_memory() -> None:
    def broken(start: int, stop: int) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        within_memory(broken, 4)


def test_both_halves_are_compiled_on_demand(pipeline: SemanticDiffusionPipeline) -> None:
    """Only that the option reaches both halves: compiling itself takes minutes on a small machine."""
    compiled = []

    def remember(half: Any) -> Any:
        compiled.append(half.__name__)
        return half

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", remember)
        pipeline.prepare(torch.device("cpu"), torch.float32, compile_network=True)
    assert compiled == ["encode", "decode"]
    assert pipeline(flat_masks(1), num_sampling_steps=2, sampler="ddim").shape == (1, *SIZE, 3)
