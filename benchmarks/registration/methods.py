"""The methods compared: CT (fixed) and SPECT (moving) in, matrix from CT to SPECT points out.

Peers run at the settings that their own documentation recommends for a first rigid registration;
nothing of theirs is tuned here, and nothing is done to the images beyond the conversion to
float32 that they ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import __version__
from CTSpectSpineLib.geometry import image_centre_mm, transform_matrix
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration import register

SEED = 121212
"""Seed of all peers. Convention: the default of elastix."""


@dataclass(frozen=True)
class Answer:
    """What a method found.

    Attributes
    ----------
    ct_to_spect
        4×4 matrix from CT to SPECT points, LPS mm.
    expected_error_mm, quality, message
        Its own judgement, for a method that gives one.
    """

    ct_to_spect: FloatArray
    expected_error_mm: float | None = None
    quality: str = ""
    message: str = ""


@dataclass(frozen=True)
class Method:
    """One method of the comparison.

    Attributes
    ----------
    title, settings
        For tables and for the document.
    package
        Distribution whose version is recorded; empty for this project.
    run
        Takes CT, SPECT and the number of threads.
    start
        Pose that the method begins at, as 4×4 matrix; a failed call is counted with its error.
    prepare
        Imports what the method needs, so that this is not timed.
    """

    title: str
    settings: str
    package: str
    run: Callable[[sitk.Image, sitk.Image, int], Answer]
    start: Callable[[sitk.Image, sitk.Image], FloatArray]
    prepare: Callable[[], object] = lambda: None

    @property
    def peer(self) -> bool:
        """Whether this is somebody else's method."""
        return bool(self.package)

    @property
    def version(self) -> str:
        """Installed version; empty where the package is absent."""
        if not self.package:
            return __version__
        try:
            return version(self.package)
        except PackageNotFoundError:
            return ""


def _header(ct: sitk.Image, spect: sitk.Image) -> FloatArray:
    """The two images as their headers place them."""
    return np.eye(4)


def _centres(ct: sitk.Image, spect: sitk.Image) -> FloatArray:
    """The centres of the two images on each other."""
    return transform_matrix(_centred_transform(ct, spect))


def _centred_transform(ct: sitk.Image, spect: sitk.Image) -> sitk.Transform:
    # The initializer needs images of one pixel type; it reads only their geometry.
    shape = [sitk.Image(image.GetSize(), sitk.sitkUInt8) for image in (ct, spect)]
    for empty, image in zip(shape, (ct, spect), strict=True):
        empty.CopyInformation(image)
    return sitk.CenteredTransformInitializer(
        *shape, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )


def _ours(ct: sitk.Image, spect: sitk.Image, threads: int) -> Answer:
    result = register(ct, spect, threads=threads)
    return Answer(result.matrix, result.stated_error_mm, result.quality, " ".join(result.reasons))


def _mattes(ct: sitk.Image, spect: sitk.Image, start: sitk.Transform, threads: int) -> Answer:
    """SimpleITK's introductory recipe for images of two modalities."""
    fixed, moving = (sitk.Cast(image, sitk.sitkFloat32) for image in (ct, spect))
    recipe = sitk.ImageRegistrationMethod()
    recipe.SetNumberOfThreads(threads)
    recipe.SetMetricAsMattesMutualInformation(numberOfHistogramBins=50)
    recipe.SetMetricSamplingStrategy(recipe.RANDOM)
    recipe.SetMetricSamplingPercentage(0.01, SEED)
    recipe.SetInterpolator(sitk.sitkLinear)
    recipe.SetOptimizerAsGradientDescent(
        learningRate=1.0,
        numberOfIterations=100,
        convergenceMinimumValue=1e-6,
        convergenceWindowSize=10,
    )
    recipe.SetOptimizerScalesFromPhysicalShift()
    recipe.SetShrinkFactorsPerLevel([4, 2, 1])
    recipe.SetSmoothingSigmasPerLevel([2, 1, 0])
    recipe.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    recipe.SetInitialTransform(start, inPlace=False)
    return Answer(transform_matrix(recipe.Execute(fixed, moving)))


def _mattes_from_centres(ct: sitk.Image, spect: sitk.Image, threads: int) -> Answer:
    return _mattes(ct, spect, _centred_transform(ct, spect), threads)


def _mattes_from_header(ct: sitk.Image, spect: sitk.Image, threads: int) -> Answer:
    start = sitk.Euler3DTransform()
    start.SetCenter(image_centre_mm(ct).tolist())
    return _mattes(ct, spect, start, threads)


def _itk() -> ModuleType:
    """ITK with the elastix module loaded (it loads lazily, and slowly)."""
    itk = import_module("itk")
    assert itk.ElastixRegistrationMethod is not None
    return itk


def _as_itk(itk: ModuleType, image: sitk.Image) -> Any:
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    result = itk.image_from_array(values)
    result.SetSpacing(image.GetSpacing())
    result.SetOrigin(image.GetOrigin())
    result.SetDirection(np.reshape(image.GetDirection(), (3, 3)))
    return result


def _elastix(ct: sitk.Image, spect: sitk.Image, threads: int) -> Answer:
    """Elastix's default rigid parameter map, as it comes."""
    itk = _itk()
    settings = itk.ParameterObject.New()
    rigid = settings.GetDefaultParameterMap("rigid")
    rigid["RandomSeed"] = [str(SEED)]
    settings.AddParameterMap(rigid)
    _, found = itk.elastix_registration_method(
        _as_itk(itk, ct),
        _as_itk(itk, spect),
        parameter_object=settings,
        number_of_threads=threads,
        log_to_console=False,
    )
    return Answer(_elastix_matrix(dict(found.GetParameterMap(0))))


def _elastix_matrix(found: Mapping[str, tuple[str, ...]]) -> FloatArray:
    """4×4 matrix of elastix's ``EulerTransform``."""
    values = [float(value) for value in found["TransformParameters"]]
    transform = sitk.Euler3DTransform()
    transform.SetComputeZYX(found.get("ComputeZYX", ("false",))[0] == "true")
    transform.SetCenter([float(value) for value in found["CenterOfRotationPoint"]])
    transform.SetRotation(*values[:3])
    transform.SetTranslation(values[3:])
    return transform_matrix(transform)


def _ants(ct: sitk.Image, spect: sitk.Image, threads: int) -> Answer:
    """ANTs's rigid registration from the headers, with the seed fixed."""
    ants = import_module("ants")
    # Its threads are those of the process's environment.
    found = ants.registration(
        _as_ants(ants, ct),
        _as_ants(ants, spect),
        type_of_transform="Rigid",
        initial_transform="Identity",
        random_seed=SEED,
    )
    (file,) = found["fwdtransforms"]
    transform = sitk.AffineTransform(sitk.ReadTransform(file))
    for written in {file, *found["invtransforms"]}:
        Path(written).unlink(missing_ok=True)
    return Answer(transform_matrix(transform))


def _as_ants(ants: ModuleType, image: sitk.Image) -> Any:
    return ants.from_numpy(
        sitk.GetArrayFromImage(image).astype(np.float32).T,
        origin=list(image.GetOrigin()),
        spacing=list(image.GetSpacing()),
        direction=np.reshape(image.GetDirection(), (3, 3)),
    )


def _greedy(ct: sitk.Image, spect: sitk.Image, threads: int, search: str = "") -> Answer:
    """Greedy's rigid registration by normalised mutual information, from the headers."""
    tool = import_module("picsl_greedy").Greedy3D()
    fixed, moving = (sitk.Cast(image, sitk.sitkFloat32) for image in (ct, spect))
    tool.execute(
        f"-threads {threads} -seed {SEED} -i fixed moving -a -dof 6 -m NMI -n 100x50x10"
        f" -ia-identity {search} -V 0 -o found",
        fixed=fixed,
        moving=moving,
        found=None,
    )
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    return Answer(to_lps @ np.asarray(tool["found"]) @ to_lps)


_SEARCH = "-search 1000 10 20"
_RECIPE = (
    "`ImageRegistrationMethod` as the introductory registration notebook of SimpleITK sets it: "
    "Mattes mutual information with 50 bins on 1 % random samples (seeded), linear "
    "interpolation, gradient descent (rate 1.0, at most 100 iterations, convergence 1e-6 over "
    "10), scales from physical shift, shrink factors 4, 2, 1, smoothing 2, 1, 0 mm"
)

METHODS: Mapping[str, Method] = {
    "ours": Method(
        "CTSpectSpine", "`register(ct, spect)`, nothing set but threads", "", _ours, _header
    ),
    "mattes": Method(
        "SimpleITK Mattes",
        f"{_RECIPE}; start: `CenteredTransformInitializer`, GEOMETRY",
        "SimpleITK",
        _mattes_from_centres,
        _centres,
    ),
    "mattes-header": Method(
        "SimpleITK Mattes, header start",
        "the same recipe, started from the positions in the headers, as a careful user would "
        "for two images that share a frame",
        "SimpleITK",
        _mattes_from_header,
        _header,
    ),
    "elastix": Method(
        "itk-elastix rigid",
        '`ParameterObject.GetDefaultParameterMap("rigid")` untouched but for the fixed seed; it '
        "starts from the positions in the headers, and its time includes the resampled image "
        "that it makes by default",
        "itk-elastix",
        _elastix,
        _header,
        _itk,
    ),
    "ants": Method(
        "ANTs rigid",
        '`ants.registration(type_of_transform="Rigid", initial_transform="Identity")` (Mattes '
        "mutual information, four levels) with the seed fixed; its time includes the two "
        "resampled images that it makes",
        "antspyx",
        _ants,
        _header,
        lambda: import_module("ants"),
    ),
    "greedy": Method(
        "Greedy rigid",
        "`-a -dof 6 -m NMI -n 100x50x10 -ia-identity`",
        "picsl_greedy",
        _greedy,
        _header,
        lambda: import_module("picsl_greedy"),
    ),
    "greedy-search": Method(
        "Greedy rigid, random search",
        f"the same with `{_SEARCH}` and the seed fixed, for starts that are far off",
        "picsl_greedy",
        partial(_greedy, search=_SEARCH),
        _header,
        lambda: import_module("picsl_greedy"),
    ),
}
