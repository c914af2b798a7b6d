"""Export a checkpoint as ONNX: ``python training/labeller/export.py CHECKPOINT... --out FILE``.

The averaged weights are taken; of partners, which ended side by side, their mean.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import onnx
import torch
from model import SpineNet

from CTSpectSpineLib.labelling.builtin.network import CLASSES


def main() -> None:
    """Write the network with its classes, voxel size and training in the file's metadata."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--before", type=int, default=0, help="steps of the network that the training began with"
    )
    options = parser.parse_args()
    states = [torch.load(p, map_location="cpu", weights_only=False) for p in options.checkpoints]
    state = states[0]
    weights = {
        name: torch.stack([other["average"][name] for other in states]).mean(dim=0)
        for name in state["average"]
    }
    config = state["config"]
    net = SpineNet(config["channels"])
    net.load_state_dict(weights)
    net.eval()
    free = {0: "batch", 2: "k", 3: "j", 4: "i"}
    torch.onnx.export(
        net,
        (torch.zeros(1, 1, 64, 64, 64),),
        str(options.out),
        input_names=["ct"],
        output_names=["output"],
        dynamic_axes={"ct": free, "output": free},
        opset_version=17,
        dynamo=False,
    )
    model = onnx.load(str(options.out))
    facts = {
        "classes": json.dumps(CLASSES),
        "spacing_mm": str(config["spacing_mm"]),
        "steps": str(options.before + state["step"]),
        "seed": str(config["seed"]),
    }
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, str(options.out))


if __name__ == "__main__":
    main()
