"""The image that an imaging pipeline delivers: WSClean has to make one that the steps after it can take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lofarpipe.programs.wsclean.arguments import given_options, number
from lofarpipe.programs.wsclean.options import MAKES_NO_IMAGE, OTHER_BEAMS, polarization_names
from lofarpipe.support.parset import split_list

NAME = ".argument.name"


def delivered_image_findings(options: Mapping[str, str]) -> list[str]:
    """Return why no image of Stokes I with a beam would come of the step that is given ``image_rootname`` as a name.

    ``options`` are those of the user, and the arguments of steps as ``<step>.argument.<key>``.
    """
    root = options.get("image_rootname", "")
    steps = [key.removesuffix(NAME) for key, text in options.items() if key.endswith(NAME) and text == root]
    return [f"{step}.argument.{line}" for step in steps for line in _problems(_arguments(step, options))]


def _arguments(step: str, options: Mapping[str, str]) -> dict[str, list[str]]:
    start = f"{step}.argument."
    keywords = {key.removeprefix(start): text for key, text in options.items() if key.startswith(start)}
    return given_options(keywords, split_list(keywords.pop("flags", "")))


def _problems(given: Mapping[str, Sequence[str]]) -> Iterator[str]:
    names = polarization_names(given)
    if "I" not in names or not set(names) <= set("IQUV"):
        what = "the primary beam, the numbers and the metadata are of Stokes I; set I, or add others to it as in IQUV"
        yield f"pol: is {','.join(names)}, and {what}"
    for name in sorted(MAKES_NO_IMAGE & set(given)):
        yield f"{name}: makes no image; remove it"
    intervals = "".join(given.get("intervals-out", ())[:1])
    if (number(intervals) or 1) > 1:
        yield f"intervals-out: is {intervals}, and one image is delivered; set 1"
    if "no-fit-beam" in given and OTHER_BEAMS & set(given) == {"no-fit-beam"}:
        yield "no-fit-beam: leaves the image without a restoring beam; remove it, or add theoretic-beam"
