"""How well ratios, intervals and classes hold on physically simulated scans."""
