"""The command of a job: tokens become files, and keyword arguments become argv, per ``args_format``.

Pure functions. Source: doc/spec/lofarpipe.md, section 4.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import files_of


@dataclass(frozen=True)
class Format:
    """Command-line forms of keyword arguments, and the position of their parset file (``parsetasfile``)."""

    arguments: Callable[[Sequence[str], Mapping[str, str]], list[str]]
    is_file_last: bool = False


@dataclass(frozen=True)
class OutputArgument:
    """The output argument of a command."""

    index: int  # in argv
    prefix: str  # of the name in the argument, such as ``msout=``
    name: str
    ending: str | None = ""  # suffix of the files written; None: these arguments may write none

    def renamed(self, argv: Sequence[str], name: str) -> tuple[str, ...]:
        """Return argv with the output renamed."""
        return (*argv[: self.index], f"{self.prefix}{name}", *argv[self.index + 1 :])


def substitute_tokens(
    positionals: Sequence[str], keywords: Mapping[str, str], tokens: Iterable[tuple[str, str]]
) -> tuple[list[str], dict[str, str]]:
    """Return positionals and keywords with each token, in order, replaced by its file.

    A token is replaced in positionals and keyword values equal to it; of two files for one token the last counts.
    If the step has keywords, and neither was found, the token becomes a keyword itself; an existing one of that name is
    overridden in its place. The keywords come back in byte order, those added last.
    """
    arguments, values = list(positionals), dict(sorted(keywords.items()))
    for token, file in dict(tokens).items():
        is_positional = token in positionals
        arguments = [file if old == token else new for old, new in zip(positionals, arguments, strict=True)]
        if not values:
            continue
        matching = [key for key, value in values.items() if value == token]
        if not matching and not is_positional:
            matching = [token]
        values.update(dict.fromkeys(matching, file))
    return arguments, values


def gnu(positionals: Sequence[str], keywords: Mapping[str, str]) -> list[str]:
    """Return the positionals, then ``--key=value``."""
    return [*positionals, *(f"--{key}={value}" for key, value in keywords.items())]


def lofar(positionals: Sequence[str], keywords: Mapping[str, str]) -> list[str]:
    """Return the positionals, then ``key=value``."""
    return [*positionals, *(f"{key}={value}" for key, value in keywords.items())]


def argparse(positionals: Sequence[str], keywords: Mapping[str, str]) -> list[str]:
    """Return the positionals, then each ``--key value`` as one argument with a space."""
    return [*positionals, *(f"--{key} {value}" for key, value in keywords.items())]


# Options of WSClean with one path, which may contain spaces. Source: wsclean without arguments, 3.1 and 3.5.
PATHS = frozenset({"name", "temp-dir", "fits-mask", "casa-mask", "aterm-config", "facet-regions", "mwa-path"})
PATHS |= {"reuse-psf", "reuse-dirty", "force-spectrum", "simulate-baseline-noise", "python-deconvolution"}


def wsclean(positionals: Sequence[str], keywords: Mapping[str, str]) -> list[str]:
    """Return ``-key value ...``, the last keyword first, then the positionals, lists exploded into files.

    Unlike in the original, a path with spaces stays one argument.
    """
    options = [argument for key in reversed(list(keywords)) for argument in (f"-{key}", *_words(key, keywords[key]))]
    for positional in positionals:
        options += files_of(positional) if _is_list(positional) else [positional]
    return options


def losoto(positionals: Sequence[str], keywords: Mapping[str, str]) -> list[str]:  # noqa: ARG001 - one signature for all
    """Return the positionals alone: LoSoTo takes its keywords from a parset file."""
    return list(positionals)


#: ``control.args_format`` -> format; known programs select theirs in ``task``.
FORMATS = {
    "gnu": Format(gnu),
    "lofar": Format(lofar),
    "argparse": Format(argparse),
    "wsclean": Format(wsclean),
    "losoto": Format(losoto, is_file_last=True),
}


def build_argv(
    executable: str,
    positionals: Sequence[str],
    keywords: Mapping[str, str],
    args_format: str,
    parset_file: str | None = None,
) -> list[str]:
    """Return the argument list of a job, the executable first.

    With a ``parset_file`` (``parsetasfile=True``) that file holds the keywords: its name comes first, for LoSoTo last.
    An unknown ``args_format`` drops the keywords; the caller checks the name.
    """
    form = FORMATS.get(args_format, Format(losoto))
    if parset_file is None:
        return [executable, *form.arguments(positionals, keywords)]
    return [executable, *positionals, parset_file] if form.is_file_last else [executable, parset_file, *positionals]


def _is_list(text: str) -> bool:
    return text.startswith("[") and text.endswith("]") and len(text) > 1


def _words(key: str, value: str) -> list[str]:
    """Return the stripped elements of a ``[list]``, or the words of other text; [""] if there are none."""
    if key in PATHS:
        return [value.strip()]
    if _is_list(value):
        return value[1:-1].replace(" ", "").split(",")
    return [word for word in value.split(" ") if word] or [""]
