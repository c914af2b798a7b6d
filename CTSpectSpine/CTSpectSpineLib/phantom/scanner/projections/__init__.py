"""The physical scanner: projections through attenuation and collimator, then a reconstruction."""
