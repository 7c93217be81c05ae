import pytest

MACHINE = {
    "processor": "Abacus",
    "cores": 2,
    "flags": ["avx2"],
    "onednn by default": False,
    "memory": 24 * 2**30,
    "gpus": [],
    "system": "Linux 6",
    "python": "3.11",
    "copy bandwidth": 18.5e9,
    "gpu copy bandwidth": None,
}


@pytest.fixture
def made_up():
    """Returns a function that makes results from a dict from (case, entrant, quantity, unit) to values."""

    def make(measurements, benchmark="step", **changes):
        keys = ("case", "entrant", "quantity", "unit")
        return {
            "benchmark": benchmark,
            "label": "",
            "command": f"python -m benchmarks.{benchmark}",
            "quick": False,
            "machine": MACHINE,
            "versions": {"tensorflow": {"keras": "3.15.1"}, "backends": {"torch": "2.13.0"}},
            "commit": "abc",
            "date": "2026-01-01T00:00:00+00:00",
            "threads": 2,
            "measurements": [
                dict(zip(keys, key, strict=True)) | {"values": values} for key, values in measurements.items()
            ],
            "absent": {},
        } | changes

    return make
