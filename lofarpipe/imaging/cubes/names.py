"""Names of one beam's images, cubes and weights: formatting and parsing."""

from __future__ import annotations

from pathlib import Path

from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

_ROOT = lazy_pattern(r"image\.(?P<field>.+)\.contcube\.beam(?P<beam>\d{2,})")
_PRODUCT = lazy_pattern(
    r"(?P<product>image|weights)\.(?P<kind>restored|residual)\.(?P<stokes>[iquv])"
    r"\.(?P<field>.+)\.contcube\.beam(?P<beam>\d{2,})\.conv\.(?P<ending>fits|txt)"
)
PRODUCT_ENDINGS = {"image": "fits", "weights": "txt"}
RESTORED, RESIDUAL = "restored", "residual"


@dataclass(frozen=True)
class BeamName:
    """One beam of one field: FIELD.NAME and FEED1 of its measurement set."""

    field: str
    beam: int

    @property
    def title(self) -> str:
        """Human-readable name of the beam."""
        return f"{self.field} beam {self.beam:02d}"

    @property
    def root(self) -> str:
        """Root name of channel images."""
        return f"image.{self.field}.contcube.beam{self.beam:02d}"

    def cube(self, stokes: str, kind: str = RESTORED) -> str:
        """Return the name of a cube."""
        return self._product("image", stokes, kind)

    def weights(self, stokes: str, kind: str = RESTORED) -> str:
        """Return the name of a cube's weights file."""
        return self._product("weights", stokes, kind)

    def _product(self, product: str, stokes: str, kind: str) -> str:
        rest = self.root.removeprefix("image.")
        return f"{product}.{kind}.{stokes.lower()}.{rest}.conv.{PRODUCT_ENDINGS[product]}"


@dataclass(frozen=True)
class ProductName:
    """Parsed name of a cube or weights file."""

    beam: BeamName
    product: str  # image or weights
    kind: str  # restored or residual
    stokes: str


def read_root(path: str | Path) -> BeamName:
    """Parse the root name of channel images into field and beam.

    Raises
    ------
    ValueError
        If the name has another form.
    """
    if match := _ROOT.fullmatch(Path(path).name):
        return BeamName(match["field"], int(match["beam"]))
    raise ValueError(f"image_root is {str(path)!r}; its name must be image.<field>.contcube.beam<two digits>")


def read_product(path: str | Path) -> ProductName | None:
    """Parse the name of a cube or weights file; None for another file."""
    match = _PRODUCT.fullmatch(Path(path).name)
    if match is None or match["ending"] != PRODUCT_ENDINGS[match["product"]]:
        return None
    beam = BeamName(match["field"], int(match["beam"]))
    return ProductName(beam, match["product"], match["kind"], match["stokes"].upper())
