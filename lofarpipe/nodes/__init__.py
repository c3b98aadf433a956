"""Programs that run as jobs: each is started with ``python -m`` and one JSON file that says what to do."""
