"""Writes tiny TotalSegmentator models that tell classes by their HU. Run by the Python that has it.

``python tiny_totalsegmentator.py FOLDER`` makes ``FOLDER/Dataset…``. The models are nnU-Nets of two
stages with random weights, except for one path that carries the intensity through the network to
a head which picks the class of the nearest level of `HU_OF_CLASS`.
"""

import json
import sys
from pathlib import Path

HU_OF_CLASS = {
    "background": 0,
    "vertebrae_L5": 400,
    "vertebrae_L4": 600,
    "vertebrae_L3": 800,
    "sacrum": 1000,
    "hip_left": 1200,
}
"""HU of each block of the test's CT."""

_MIDDLE_HU, _STEP_HU, _FLOOR_HU = 600.0, 200.0, -1400.0
_PART_OF_VERTEBRAE = {"vertebrae_L5": 3, "vertebrae_L4": 4, "vertebrae_L3": 5, "sacrum": 1}
_PART_OF_MUSCLES = {"hip_left": 9}
_TOTAL = {"vertebrae_L5": 27, "vertebrae_L4": 28, "vertebrae_L3": 29, "sacrum": 25, "hip_left": 77}
_FAST_TRAINER = "nnUNetTrainer_4000epochs_NoMirroring"
_MODELS = (
    ("Dataset297_TotalSegmentator_total_3mm_1559subj", _FAST_TRAINER, 3.0, 117, _TOTAL),
    ("Dataset298_TotalSegmentator_total_6mm_1559subj", _FAST_TRAINER, 6.0, 117, _TOTAL),
    (
        "Dataset292_TotalSegmentator_part2_vertebrae_1532subj",
        "nnUNetTrainerNoMirroring",
        1.5,
        26,
        _PART_OF_VERTEBRAE,
    ),
    (
        "Dataset294_TotalSegmentator_part4_muscles_1559subj",
        "nnUNetTrainerNoMirroring",
        1.5,
        23,
        _PART_OF_MUSCLES,
    ),
)


def write_models(folder):
    """Write all models; the names are those that TotalSegmentator looks for."""
    for dataset, trainer, spacing, classes, numbers in _MODELS:
        model = folder / dataset / f"{trainer}__nnUNetPlans__3d_fullres"
        (model / "fold_0").mkdir(parents=True)
        labels = {"background": 0} | {f"class_{n}": n for n in range(1, classes + 1)}
        (model / "dataset.json").write_text(
            json.dumps(
                {
                    "channel_names": {"0": "CT"},
                    "labels": labels,
                    "numTraining": 1,
                    "file_ending": ".nii.gz",
                }
            )
        )
        plans = _plans(dataset, spacing)
        (model / "plans.json").write_text(json.dumps(plans))
        _write_checkpoint(
            model / "fold_0" / "checkpoint_final.pth", plans, trainer, labels, numbers
        )


def _write_checkpoint(path, plans, trainer, labels, numbers):
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    torch.manual_seed(1)
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    network = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        len(labels),
        deep_supervision=False,
    )
    with torch.no_grad():
        first = network.encoder.stages[0][0].convs[0].conv
        last = network.decoder.stages[0].convs[0].conv
        _pass_on(first, 0)
        # Features of the decoder: those from below, then those that skipped the lower stage.
        _pass_on(last, last.in_channels // 2)
        _pick_nearest(network.decoder.seg_layers[0], numbers)
    torch.save(
        {
            "network_weights": network.state_dict(),
            "trainer_name": trainer,
            "init_args": {"configuration": "3d_fullres"},
            "inference_allowed_mirroring_axes": None,
        },
        path,
    )


def _pass_on(convolution, channel):
    """Let the first output be one input, unchanged."""
    middle = convolution.kernel_size[0] // 2
    convolution.weight[0] = 0.0
    convolution.weight[0, channel, middle, middle, middle] = 1.0
    convolution.bias[0] = 0.0


def _pick_nearest(head, numbers):
    """Logits ``2 t x - t²``, largest for the level t nearest to x; both relative to the middle."""
    head.weight[:] = 0.0
    head.bias[:] = -1000.0
    known = {name: HU_OF_CLASS[name] for name in numbers}
    if "hip_left" in known and len(known) == 1:
        known["background"] = HU_OF_CLASS["sacrum"]
    else:
        known["background"] = HU_OF_CLASS["background"]
    offset = (_MIDDLE_HU - _FLOOR_HU) / _STEP_HU
    for name, hu in known.items():
        level = (hu - _MIDDLE_HU) / _STEP_HU
        number = numbers.get(name, 0)
        head.weight[number, 0] = 2 * level
        head.bias[number] = -(level**2) - 2 * level * offset


def _plans(dataset, spacing):
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [32, 32, 32],
        "median_image_size_in_voxels": [40.0, 40.0, 40.0],
        "spacing": [spacing] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True},
        "resampling_fn_probabilities_kwargs": resampling,
        "batch_dice": False,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 2,
                "features_per_stage": [4, 8],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
                "strides": [[1, 1, 1], [2, 2, 2]],
                "n_conv_per_stage": [1, 1],
                "n_conv_per_stage_decoder": [1],
                "conv_bias": True,
                "norm_op": None,
                "norm_op_kwargs": None,
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    intensity = {
        "mean": _FLOOR_HU,
        "std": _STEP_HU,
        "percentile_00_5": -1100.0,
        "percentile_99_5": 1500.0,
        "min": -1100.0,
        "max": 1500.0,
        "median": 0.0,
    }
    return {
        "dataset_name": dataset,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [spacing] * 3,
        "original_median_shape_after_transp": [40, 40, 40],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensity},
    }


if __name__ == "__main__":
    write_models(Path(sys.argv[1]))
