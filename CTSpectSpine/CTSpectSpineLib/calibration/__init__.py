"""Calibration for a site: of its scanner and reconstruction, from a phantom or from normals."""

from CTSpectSpineLib.calibration.fit import SphereFit as SphereFit
from CTSpectSpineLib.calibration.layouts import USUAL_LAYOUT as USUAL_LAYOUT
from CTSpectSpineLib.calibration.layouts import layout as layout
from CTSpectSpineLib.calibration.layouts import layouts as layouts
from CTSpectSpineLib.calibration.normals import calibrate_normals as calibrate_normals
from CTSpectSpineLib.calibration.spheres import calibrate_spheres as calibrate_spheres
