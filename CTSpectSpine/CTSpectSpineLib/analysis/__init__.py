"""The whole analysis: from CT and SPECT through all stages to the results folder."""
