"""Record tests/data/unet_vectors.safetensors: outputs of the network with weights that follow a formula.

Run it only on a network that agrees with the published one (tests/models/test_unet.py, TestPublished):
    python tests/record_vectors.py
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent / "models"))

from test_unet import VECTORS, formula_inputs, formula_unet

with torch.no_grad():
    unet, inputs = formula_unet(), formula_inputs()
    null = inputs | {"semantic_map": torch.zeros_like(inputs["semantic_map"])}
    save_file({"output": unet(**inputs), "output_null": unet(**null)}, VECTORS)
