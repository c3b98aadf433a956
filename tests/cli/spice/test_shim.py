"""The package that gives ``arrakis.imager.main`` where Arrakis is not installed."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def test_installed_shim_provides_function(tmp_path: Path) -> None:
    target = tmp_path / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target)]
    subprocess.run([*command, str(REPOSITORY / "shim" / "arrakis")], check=True, timeout=300)
    program = (
        f"import sys; sys.path.insert(0, {str(target)!r}); from arrakis.imager import main; print(main.__module__)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert shown.stdout == "lofarpipe.cli.spice\n"
    (installed,) = importlib.metadata.distributions(name="arrakis", path=[str(target)])
    assert installed.version == "0+genericpipeline"
