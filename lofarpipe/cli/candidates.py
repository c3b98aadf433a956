"""``genericpipeline.py completion SHELL``: the candidates of a shell for an unfinished command line.

The lines for a shell call ``genericpipeline.py completion -- WORD...`` with the words so far, the last one unfinished.
It prints the files that go with them (``none``, ``files`` or ``directories``), then a candidate on each line, with its
meaning behind a tab.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lofarpipe.cli.advice import named_parset
from lofarpipe.cli.arguments import COMMANDS, PROGRAM, VERBS, front_ends, parser
from lofarpipe.cli.output import show
from lofarpipe.config import parset_directories
from lofarpipe.errors import UsageError, nearest
from lofarpipe.pipeline.options import NONE, OR_NONE, SOME_OF, Option, read_options
from lofarpipe.support.parset import Parset
from lofarpipe.support.usage import Reader

NO_FILES, FILES, DIRECTORIES = "none", "files", "directories"
SET = ("-s", "--set")
#: Metavars of options that take a file or a directory.
KINDS = {"FILE": FILES, "TABLE": FILES, "[FILE,...]": FILES, "DIR": DIRECTORIES}
BASH = """\
# Completion of genericpipeline.py for bash: put it into ~/.local/share/bash-completion/completions/genericpipeline.py
_genericpipeline() {
    local line=${COMP_LINE:0:COMP_POINT} cur text
    local -a words found
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur=${words[${#words[@]}-1]}
    mapfile -t found < <("${words[0]}" completion -- "${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    for text in "${found[@]:1}"; do
        COMPREPLY+=("${text%%$'\\t'*}")
        [[ ${COMPREPLY[-1]} == *= ]] && compopt -o nospace 2>/dev/null
    done
    if [[ $cur == *=* && $COMP_WORDBREAKS == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${cur%%=*}="}")
    fi
    case ${found[0]} in
        files) mapfile -t found < <(compgen -f -- "${cur#*=}") ;;
        directories) mapfile -t found < <(compgen -d -- "$cur") ;;
        *) return ;;
    esac
    compopt -o filenames 2>/dev/null
    COMPREPLY+=("${found[@]}")
}
complete -F _genericpipeline genericpipeline.py
"""
ZSH = """\
#compdef genericpipeline.py
# Completion of genericpipeline.py for zsh: put it as _genericpipeline.py into a directory of $fpath
_genericpipeline() {
    local -a found plain open plain_shown open_shown
    local text shown
    found=("${(@f)$("${words[1]}" completion -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for text in "${(@)found[2,-1]}"; do
        shown="${text/$'\\t'/  -- }"
        text="${text%%$'\\t'*}"
        if [[ $text == *= ]]; then
            open+=("$text") open_shown+=("$shown")
        else
            plain+=("$text") plain_shown+=("$shown")
        fi
    done
    (( $#open )) && compadd -S '' -l -d open_shown -- "${open[@]}"
    (( $#plain )) && compadd -l -d plain_shown -- "${plain[@]}"
    case $found[1] in
        files) compset -P '*='; _files ;;
        directories) _files -/ ;;
    esac
}
if [ "$funcstack[1]" = "_genericpipeline.py" ]; then
    _genericpipeline "$@"
else
    compdef _genericpipeline genericpipeline.py
fi
"""
FISH = """\
# Completion of genericpipeline.py for fish: put it into ~/.config/fish/completions/genericpipeline.py.fish
function __genericpipeline
    set -l words (commandline -opc) (commandline -ct)
    set -l found ($words[1] completion -- $words[2..-1] 2>/dev/null)
    printf '%s\\n' $found[2..-1]
    switch "$found[1]"
        case files
            set -l before (string match -r '^.*=' -- $words[-1])
            for path in (__fish_complete_path (string replace -r '^.*=' '' -- $words[-1]))
                echo "$before$path"
            end
        case directories
            __fish_complete_directories $words[-1]
    end
end
complete -c genericpipeline.py -f -a '(__genericpipeline)'
"""
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


class Candidate(NamedTuple):
    """One completion."""

    text: str
    meaning: str = ""


def main(words: Sequence[str]) -> int:
    """Run the sub-command: print the lines for a shell, or the candidates for an unfinished command line.

    Raises
    ------
    UsageError
        If the shell is not supported.
    """
    if words[:1] == ["--"]:
        kind, matches = candidates(words[1:] or [""])
        show(kind, *("\t".join(filter(None, one)) for one in matches))
        return 0
    shell = _parser().parse_args(words).shell
    if shell not in SHELLS:
        raise UsageError(f"completion {shell}: one of {', '.join(SHELLS)} is needed{nearest(shell, SHELLS)}")
    show(SHELLS[shell], end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    rest = Reader(prog=f"{PROGRAM} completion", description="Prints the lines that teach a shell this command line.")
    rest.add_argument("shell", help=f"one of {', '.join(SHELLS)}")
    return rest


def candidates(words: Sequence[str]) -> tuple[str, list[Candidate]]:
    """Return the kind of files, and the candidates, for the last word; ``words`` follow the program's name."""
    *previous_words, current = words
    last = previous_words[-1] if previous_words else ""
    if last in SET or current.startswith("--set="):
        return _settings(previous_words, current)
    first = previous_words[0] if previous_words else ""
    reader = parser(first if first in VERBS else "")
    action = reader._option_string_actions.get(last)
    if action is not None and action.nargs is None and action.metavar is not None:
        return _value(str(action.metavar), previous_words, current)
    if current.startswith("-"):
        visible_actions = [one for one in reader._actions if one.help != argparse.SUPPRESS]
        flags = [Candidate(name, one.help or "") for one in visible_actions for name in one.option_strings]
        return NO_FILES, _begun(flags, current)
    if first == "completion":
        return NO_FILES, _begun(map(Candidate, SHELLS), current)
    if first in COMMANDS:
        return DIRECTORIES, []
    if first in front_ends():
        return FILES, []
    parsets = _parsets() if named_parset(previous_words) is None else []
    commands = [] if previous_words else [Candidate(name, verb[1]) for name, verb in VERBS.items()]
    commands += [] if previous_words else map(Candidate, [*COMMANDS, *front_ends()])
    return NO_FILES if parsets and not current else FILES, _begun([*commands, *parsets], current)


def _begun(choices: Iterable[Candidate], current: str) -> list[Candidate]:
    return [one for one in choices if one.text.startswith(current)]


def _parsets() -> list[Candidate]:
    """Return the parsets in the current directory, and the shipped ones."""
    shipped = {path.name for folder in parset_directories() for path in folder.glob("*.parset")}
    local_names = {path.name for path in Path.cwd().glob("*.parset")}
    return [
        *map(Candidate, sorted(local_names)),
        *(Candidate(name, "shipped") for name in sorted(shipped - local_names)),
    ]


def _settings(previous_words: Sequence[str], current: str) -> tuple[str, list[Candidate]]:
    """Return the candidates for an assignment: names of options, then values of one."""
    parset, prefix = named_parset(previous_words), "--set=" if current.startswith("--set=") else ""
    name, equals, _ = current.removeprefix(prefix).partition("=")
    options = _options(parset) if parset is not None else []
    if not equals:
        return NO_FILES, _begun((Candidate(f"{prefix}{one.name}=", one.meaning) for one in options), current)
    option = next((one for one in options if one.name == name), None)
    if option is None:
        return NO_FILES, []
    values = [Candidate(f"{prefix}{name}={value}", meaning) for value, meaning in _values(option)]
    return FILES if option.domain.startswith(("path", "list")) else NO_FILES, _begun(values, current)


def _options(parset: Parset) -> list[Option]:
    definitions = parset.definitions()
    return read_options(definitions, {name: entry for name, entry in definitions.items() if entry.comment})


def _values(option: Option) -> list[tuple[str, str]]:
    """Return the possible values of an option, if they can be listed; the current one first."""
    domain = option.domain.removesuffix(OR_NONE).removeprefix(SOME_OF)
    choices = [choice.strip() for choice in domain.split("|")] if "|" in domain else []
    choices += [NONE] if option.domain.endswith(OR_NONE) else []
    others = [(choice, "") for choice in choices if choice != option.value]
    return [*([(option.value, "as it is")] if option.value else []), *others]


def _value(metavar: str, previous_words: Sequence[str], current: str) -> tuple[str, list[Candidate]]:
    """Return the candidates for the value of a flag."""
    parset = named_parset(previous_words) if metavar == "STEP" else None
    if parset is not None and "pipeline.steps" in parset:
        blocks = dict.fromkeys(key.partition(".")[0] for key in parset if ".control." in key and key[0] != "!")
        return NO_FILES, _begun(map(Candidate, blocks), current)
    return KINDS.get(metavar, NO_FILES), []
