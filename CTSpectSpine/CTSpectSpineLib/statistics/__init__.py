"""Statistics over numbers: estimates with intervals. Knows neither patients nor files."""
