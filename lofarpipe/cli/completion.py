"""Completion of a command line for bash, zsh and fish, made of its parser.

The first argument is a TOML file or a sub-command, the others are directories; options that take a file or a directory
are completed with these.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence

from lofarpipe.support.dataclass import dataclass

DIRECTORY, FILE = "DIR", "FILE"  # metavars of options with a path

BASH = """\
# Completion of {program} for bash: put it into ~/.local/share/bash-completion/completions/{program}
_{program}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} word begun=
    COMPREPLY=()
    case $prev in
{cases}
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "{options}" -- "$cur")
        return
    fi
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ $word == *.toml{commands_test} ]] && begun=1
    done
    compopt -o filenames 2>/dev/null
    if [[ $begun ]]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -f -X '!*.toml' -- "$cur"; compgen -d -- "$cur"; \
compgen -W "{commands}" -- "$cur")
    fi
}}
complete -F _{program} {program}
"""
BASH_CASE = """\
        {names})
            {action}
            return ;;"""
BASH_ACTIONS = {
    DIRECTORY: 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur")',
    FILE: 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur")',
}
ZSH = """\
#compdef {program}
# Completion of {program} for zsh: put it as _{program} into a directory of $fpath
_{program}() {{
    _arguments -s \\
{options}
        '1:configuration:_{program}_first' \\
        '*:directory:_files -/'
}}
_{program}_first() {{
    _files -g '*.toml(-.)'
    compadd -- {commands}
}}
if [ "$funcstack[1]" = "_{program}" ]; then
    _{program} "$@"
else
    compdef _{program} {program}
fi
"""
FISH = """\
# Completion of {program} for fish: put it into ~/.config/fish/completions/{program}.fish
complete -c {program} -f
complete -c {program} -n 'test (count (commandline -opc)) -eq 1' -a '(__fish_complete_suffix .toml)'
complete -c {program} -n 'test (count (commandline -opc)) -eq 1' -a '{commands}'
complete -c {program} -n 'test (count (commandline -opc)) -gt 1' -a '(__fish_complete_directories)'
{options}
"""


@dataclass(frozen=True)
class CompletionOption:
    """One option of a command line."""

    names: tuple[str, ...]
    meaning: str
    value: str | None  # kind of the value: DIR, FILE or another; None: a flag
    choices: tuple[str, ...]


def completion(shell: str, parser: argparse.ArgumentParser, commands: Sequence[str]) -> str:
    """Return the lines that teach a shell a command line; ``commands`` are its sub-commands."""
    scripts: Mapping[str, Callable[[str, Sequence[CompletionOption], Sequence[str]], str]] = {
        "bash": _bash,
        "zsh": _zsh,
        "fish": _fish,
    }
    return scripts[shell](parser.prog, list(_options(parser)), commands)


def _options(parser: argparse.ArgumentParser) -> Iterator[CompletionOption]:
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            value = None if action.nargs == 0 else str(action.metavar or action.dest)
            meaning = (action.help or "").partition(";")[0]
            yield CompletionOption(tuple(action.option_strings), meaning, value, tuple(map(str, action.choices or ())))


def _bash(program: str, options: Sequence[CompletionOption], commands: Sequence[str]) -> str:
    cases = [
        BASH_CASE.format(names="|".join(one.names), action=_bash_action(one))
        for one in options
        if one.value is not None
    ]
    return BASH.format(
        program=program,
        cases="\n".join(cases),
        options=" ".join(name for one in options for name in one.names),
        commands=" ".join(commands),
        commands_test="".join(f" || $word == {name}" for name in commands),
    )


def _bash_action(option: CompletionOption) -> str:
    if option.choices:
        return f'mapfile -t COMPREPLY < <(compgen -W "{" ".join(option.choices)}" -- "$cur")'
    return BASH_ACTIONS.get(option.value or "", ":")


def _zsh(program: str, options: Sequence[CompletionOption], commands: Sequence[str]) -> str:
    lines = []
    for one in options:
        meaning = one.meaning.translate(str.maketrans("[]:", "() ", "'"))
        kinds = {DIRECTORY: ":directory:_files -/", FILE: ":file:_files"}
        value = "" if one.value is None else kinds.get(one.value, f":{one.value.lower()}:({' '.join(one.choices)})")
        group = f"'({' '.join(one.names)})'{{{','.join(one.names)}}}" if len(one.names) > 1 else one.names[0]
        lines.append(f"        {group}'[{meaning}]{value}' \\")
    return ZSH.format(program=program, options="\n".join(lines), commands=" ".join(commands))


def _fish(program: str, options: Sequence[CompletionOption], commands: Sequence[str]) -> str:
    kinds = {DIRECTORY: " -xa '(__fish_complete_directories)'", FILE: " -rF"}
    lines = []
    for one in options:
        names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in one.names)
        value = f" -xa '{' '.join(one.choices)}'" if one.choices else kinds.get(one.value or "", " -x")
        meaning = one.meaning.replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"complete -c {program} {names}{'' if one.value is None else value} -d '{meaning}'")
    return FISH.format(program=program, options="\n".join(lines), commands=" ".join(commands))
