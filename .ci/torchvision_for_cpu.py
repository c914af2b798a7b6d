"""Lets torchvision's general wheel load beside torch's CPU build, in the environment of the tests.

That wheel holds operators compiled for CUDA, which then cannot be loaded, and stops because their
names are unknown. Nobody calls them here; declaring the names is enough. A ``.pth`` file imports
this module when Python starts.
"""

import importlib.abc
import importlib.metadata
import sys

_ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _Declare(importlib.abc.MetaPathFinder):
    """Declares the operators just before torchvision is imported."""

    def find_spec(self, name, path=None, target=None):
        """Find nothing; declare once."""
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                self.library.define(operator + _ARGUMENTS)
            _KEPT.append(self)
        return


_KEPT = []


def _differ():
    try:
        torch, torchvision = (importlib.metadata.version(n) for n in ("torch", "torchvision"))
    except importlib.metadata.PackageNotFoundError:
        return False
    return torch.endswith("+cpu") and not torchvision.endswith("+cpu")


if _differ():
    sys.meta_path.insert(0, _Declare())
