"""The imaging plan: image sizes, averaging, and predicted smearing losses."""
