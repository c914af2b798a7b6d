"""Train the built-in labeller: ``python training/labeller/train.py --work DIR``.

Run again with the same folder to continue from the last checkpoint. Needs torch (CPU or GPU).

On a CPU, two processes of one thread each get further than one of two threads. They learn together
when each has a folder and a seed of its own and names the other's folder with ``--partner``: at
every checkpoint each takes the mean of its weights and the other's last ones (local SGD, Stich,
ICLR 2019). Both start from one checkpoint, or from nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augmentation import Patch, random_patch
from model import SpineNet
from real_case import real_case
from synthesis import Case, load_case, read_config
from torch.nn import functional

from CTSpectSpineLib.labelling.builtin.network import CLASSES

_HERE = Path(__file__).parent
_VALIDATION = 10_000_000
"""First seed of the validation cases. Convention: far above those of training."""
_IMPORTANCE = {"sacrum": 2.0, "cervical": 8.0, "C1": 30.0, "C2": 30.0}
"""Weight of rare classes in the cross entropy. Judgement: as they are rare; their Dice loss, flat
near no overlap, does not get them started."""
_LAST_IMPORTANCE = 0.3
"""Power of those weights that is left in the end. Judgement: full ones would call rare classes too
often."""
_RARE = ("cervical", "C1", "C2")
_AT_VERTEBRAE = 0.75
"""Share of the patches of real CTs around a vertebra. Judgement: arches are what the phantom lacks
most; ribs come with them."""
_ABREAST = 400
"""Steps that a partner's checkpoint may be behind or ahead to be of use. Judgement: fewer than two
checkpoints."""
_FIXED = ("seed", "spacing_mm", "channels")
"""Keys of the configuration that may not change when a run continues."""
_MEMORY = 0.998
"""Memory per step of the running average of the weights, which is exported. Judgement: about 500
steps."""


def patches(
    config: dict[str, Any], cache: Path, start: int, real: Sequence[Case] = ()
) -> Iterator[list[Patch]]:
    """Endless batches; each depends on seed and step alone, so that a resumed run is the same.

    The pool of cases grows with the steps: training starts when the first ones are made. Real cases
    are drawn as often as the configuration's ``real_share``.
    """
    held: dict[int, Case] = {}
    step = start
    while True:
        rng = np.random.default_rng([config["seed"], step])
        pool = min(config["cases"], 8 + step // 4)
        batch = []
        for _ in range(config["batch"]):
            if real and rng.random() < config["real_share"]:
                case = real[int(rng.integers(len(real)))]
                batch.append(random_patch(case, config["patch"], rng, _AT_VERTEBRAE))
                continue
            number = int(rng.integers(pool))
            if number not in held:
                if len(held) > config.get("held", 260):
                    held.pop(next(iter(held)))
                held[number] = load_case(cache, number, config["spacing_mm"])
            batch.append(random_patch(held[number], config["patch"], rng))
        yield batch
        step += 1


def ahead(source: Iterator[list[Patch]], depth: int = 6) -> Iterator[list[Patch]]:
    """Make batches in a thread of their own; an error there ends the training."""
    line: queue.Queue[list[Patch] | BaseException] = queue.Queue(depth)

    def work() -> None:
        try:
            for batch in source:
                line.put(batch)
        except BaseException as error:
            line.put(error)

    threading.Thread(target=work, daemon=True).start()
    while True:
        item = line.get()
        if isinstance(item, BaseException):
            raise item
        yield item


def loss_of(
    output: torch.Tensor, batch: list[Patch], device: str, weight: float, importance: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy plus Dice of the classes, and the offsets' smooth L1 error."""
    n = len(CLASSES)
    truth = torch.from_numpy(np.stack([p.classes for p in batch])).long().to(device)
    offsets = torch.from_numpy(np.stack([p.offsets for p in batch])).to(device)
    voting = torch.from_numpy(np.stack([p.voting for p in batch])).to(device)
    logits = output[:, :n]
    entropy = functional.cross_entropy(logits, truth, importance)
    share = logits.softmax(dim=1)
    hot = functional.one_hot(truth, n).movedim(-1, 1).float()
    axes = (0, 2, 3, 4)
    both = 2 * (share * hot).sum(axes) + 20
    dice = both / (share.sum(axes) + hot.sum(axes) + 20)
    # The overlap with a class in few patches would mostly teach the network never to call it.
    counted = torch.tensor([name not in _RARE for name in CLASSES], device=device)
    counted = (counted | hot.sum(axes).bool())[1:]
    way = functional.smooth_l1_loss(output[:, n:], offsets, reduction="none").mean(dim=1)
    drift = (way * voting).sum() / voting.sum().clamp(min=1)
    missed = (1 - dice[1:])[counted].mean()
    return entropy + missed + weight * drift, drift


def tensor_of(batch: list[Patch], device: str) -> torch.Tensor:
    """Images of a batch."""
    images = torch.from_numpy(np.stack([p.image for p in batch]))[:, None]
    return images.to(device, memory_format=torch.channels_last_3d)


def validate(net: SpineNet, config: dict[str, Any], cache: Path, device: str) -> dict[str, float]:
    """Dice per class on patches of unseen spines."""
    net.eval()
    hits = np.zeros((3, len(CLASSES)))
    for number in range(config["validation_cases"]):
        case = load_case(cache, _VALIDATION + number, config["spacing_mm"])
        rng = np.random.default_rng([_VALIDATION, number])
        batch = [random_patch(case, config["patch"], rng) for _ in range(4)]
        with torch.no_grad():
            found = net(tensor_of(batch, device))[:, : len(CLASSES)].argmax(dim=1).cpu().numpy()
        truth = np.stack([p.classes for p in batch])
        for c in range(len(CLASSES)):
            a, b = found == c, truth == c
            hits[:, c] += np.count_nonzero(a & b), np.count_nonzero(a), np.count_nonzero(b)
    dice = 2 * hits[0] / np.maximum(hits[1] + hits[2], 1)
    return {name: round(float(d), 4) for name, d in zip(CLASSES[1:], dice[1:], strict=True)}


def follow(average: SpineNet, net: SpineNet, memory: float) -> None:
    """Move the averaged weights towards the present ones."""
    with torch.no_grad():
        present = net.state_dict()
        for name, value in average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(present[name], 1 - memory)
            else:
                value.copy_(present[name])


def save(path: Path, **state: Any) -> None:
    """Write a checkpoint whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def meet(net: SpineNet, partner: Path, step: int, device: str) -> bool:
    """Take the mean of a network's weights and its partner's, if that one is about as far."""
    if not partner.exists():
        return False
    other = torch.load(partner, map_location=device, weights_only=False)
    if abs(other["step"] - step) > _ABREAST:
        return False
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(other["net"][name], 0.5)
    return True


def importance_of(step: int, steps: int) -> torch.Tensor:
    """Weight of each class in the cross entropy; falls while the learning rate does."""
    full = torch.tensor([_IMPORTANCE.get(name, 1.0) for name in CLASSES])
    left = min(1.0, (steps - step) / (0.25 * steps))
    weight: torch.Tensor = full ** (_LAST_IMPORTANCE + (1 - _LAST_IMPORTANCE) * left)
    return weight


def rate(step: int, steps: int) -> float:
    """Learning rate of a step relative to the configuration's.

    Falls slowly, so that a run can be prolonged at will, and to almost zero over the last quarter.
    """
    slow = min(1.0, (step + 1) / 200) / math.sqrt(1 + step / 4000)
    return slow * min(1.0, max(0.02, (steps - step) / (0.25 * steps)))


def begin_with(net: SpineNet, weights: Path) -> None:
    """Take the weights of an exported network."""
    import onnx

    held = {part.name: part for part in onnx.load(str(weights)).graph.initializer}
    net.load_state_dict(
        {
            name: torch.from_numpy(onnx.numpy_helper.to_array(held[name]).copy())
            for name in net.state_dict()
        }
    )


def run(
    config: dict[str, Any],
    work: Path,
    cache: Path,
    device: str,
    partner: Path | None = None,
    start: Path | None = None,
    real: Sequence[Case] = (),
) -> None:
    """Train from the last checkpoint of the folder, else from `start`, else from the beginning."""
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config["seed"])
    net = SpineNet(config["channels"]).to(device, memory_format=torch.channels_last_3d)
    if start is not None:
        begin_with(net, start)
    optimiser = torch.optim.AdamW(net.parameters(), config["learning_rate"], weight_decay=1e-4)
    plan = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda n: rate(n, config["steps"]))
    average = copy.deepcopy(net)
    checkpoint, step = work / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=False)
        if any(state["config"][name] != config[name] for name in _FIXED):
            raise SystemExit(f"{checkpoint} has another configuration; use another --work folder.")
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        plan.load_state_dict(state["plan"])
        step = state["step"]
    log = (work / "log.jsonl").open("a", encoding="utf-8")
    source = ahead(patches(config, cache, step, real))
    began, recent = time.monotonic(), []
    net.train()
    while step < config["steps"]:
        batch = next(source)
        # bfloat16 and the channels-last layout halve the time of a step on a CPU.
        with torch.autocast(device, dtype=torch.bfloat16):
            output = net(tensor_of(batch, device))
        importance = importance_of(step, config["steps"]).to(device)
        loss, drift = loss_of(output.float(), batch, device, config["offset_weight"], importance)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        plan.step()
        step += 1
        follow(average, net, min(_MEMORY, step / (step + 20)))
        recent.append((float(loss.detach()), float(drift.detach())))
        last = step == config["steps"]
        if step % config["checkpoint_every"] == 0 or last:
            row: dict[str, Any] = {"step": step, "seconds": round(time.monotonic() - began)}
            row["loss"], row["offset"] = (round(float(v), 4) for v in np.mean(recent, axis=0))
            recent = []
            if step % config["validate_every"] == 0 or last:
                row["dice"] = validate(average, config, cache, device)
            # Near the end each settles alone; the mean of two settled ones would unsettle both.
            if partner is not None and step < 0.9 * config["steps"]:
                row["met"] = meet(net, partner / checkpoint.name, step, device)
            log.write(json.dumps(row) + "\n")
            log.flush()
            save(
                checkpoint,
                config=config,
                net=net.state_dict(),
                average=average.state_dict(),
                optimiser=optimiser.state_dict(),
                plan=plan.state_dict(),
                step=step,
            )


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoint and log")
    parser.add_argument("--cache", type=Path, help="folder of synthetic cases (WORK/cases)")
    parser.add_argument("--config", type=Path, default=_HERE / "config.json")
    parser.add_argument("--steps", type=int, help="instead of the configuration's")
    parser.add_argument("--seed", type=int, help="instead of the configuration's")
    parser.add_argument("--partner", type=Path, help="--work folder of a process beside this one")
    parser.add_argument("--start", type=Path, help="an exported network (.onnx) to begin with")
    parser.add_argument(
        "--real",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        metavar=("CT", "LABELS"),
        help="a CT and its labels by TotalSegmentator; may be given several times",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = read_config(options.config)
    if options.steps is not None:
        config["steps"] = options.steps
    if options.seed is not None:
        config["seed"] = options.seed
    cache = options.cache or options.work / "cases"
    real = [real_case(ct, labels, config["spacing_mm"]) for ct, labels in options.real]
    run(config, options.work, cache, options.device, options.partner, options.start, real)


if __name__ == "__main__":
    main()
