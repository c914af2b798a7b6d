"""The network: a small 3D U-Net with a head for classes and one for offsets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from CTSpectSpineLib.labelling.builtin.network import CLASSES


# Instance normalisation: running statistics of batches of two fit neither a neck surrounded by air
# nor a trunk, and cost a quarter of the bodies' recall.
def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for first, last, step in ((inputs, outputs, stride), (outputs, outputs, 1)):
        layers.append(nn.Conv3d(first, last, 3, step, 1, bias=False))
        layers += [nn.InstanceNorm3d(last, affine=True), nn.LeakyReLU(0.01, inplace=True)]
    return nn.Sequential(*layers)


class SpineNet(nn.Module):
    """U-Net; output channels are the classes' logits, then the offsets along k, j, i."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        inputs = (1, *channels[:-1])
        self.down = nn.ModuleList(
            _block(a, b, 1 if n == 0 else 2)
            for n, (a, b) in enumerate(zip(inputs, channels, strict=True))
        )
        pairs = list(zip(channels[::-1], channels[-2::-1], strict=False))
        self.widen = nn.ModuleList(nn.ConvTranspose3d(a, b, 2, 2) for a, b in pairs)
        self.up = nn.ModuleList(_block(2 * b, b) for _, b in pairs)
        self.head = nn.Conv3d(channels[0], len(CLASSES) + 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, 1, n, n, n) to (batch, classes + 3, n, n, n); n divisible by 8."""
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
        for widen, up, skip in zip(self.widen, self.up, kept[-2::-1], strict=True):
            x = up(torch.cat((widen(x), skip), dim=1))
        result: torch.Tensor = self.head(x)
        return result
