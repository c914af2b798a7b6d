"""The anatomy of the phantom: spine, pelvis, ribs, organs and metal as voxels."""
