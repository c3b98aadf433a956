"""The YAML file of spice_process: general options, options of single operations, and their lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path

from lofarpipe.cli.spice.table import POSITIONALS, PROCESS_OPTIONS, SpiceOption, operations, spice_options
from lofarpipe.errors import UsageError, nearest
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.yaml_file import YamlFile


@dataclass(frozen=True)
class OptionSetting:
    """The value of an option as the parset writes it, and where it comes from."""

    text: str
    file: str
    line: int = 0

    @property
    def where(self) -> str:
        """``file:line``, or the file alone."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Config:
    """The options of a YAML file.

    Attributes
    ----------
    settings: option -> value.
    of_operations: operation (a step of the pipeline) -> option -> value.
    text: the whole file.
    """

    path: Path
    text: str
    settings: Mapping[str, OptionSetting] = field(default_factory=dict)
    of_operations: Mapping[str, Mapping[str, OptionSetting]] = field(default_factory=dict)


def file_options() -> dict[str, SpiceOption]:
    """Return the options allowed in a file, by name."""
    table = {name: option for name, option in spice_options().items() if name not in POSITIONALS}
    return table | {option.name: option for option in PROCESS_OPTIONS}


def read_config(path: Path) -> Config:
    """Return the options of a YAML file.

    Raises
    ------
    UsageError
        If it is not YAML, or has unknown keys or values of the wrong type; the message lists all.
    """
    file = YamlFile(path)
    reader = _Reader(file)
    settings: dict[str, OptionSetting] = {}
    of_operations: dict[str, dict[str, OptionSetting]] = {}
    option_names = {*file_options(), *operations()}
    for key, name, value in reader.keys(file.document, option_names):
        if name in operations():
            of_operations[name] = reader.operation(key, name, value)
        elif setting := reader.setting((key,), file_options()[name], value):
            settings[name] = setting
    if {"hosted_wsclean", "local_wsclean"} <= settings.keys():
        second = max(settings["hosted_wsclean"], settings["local_wsclean"], key=lambda setting: setting.line)
        reader.problems.append(f"{second.where}: hosted_wsclean and local_wsclean are both there; give one of them")
    if reader.problems:
        raise UsageError("\n".join(reader.problems))
    return Config(path, file.text, settings, of_operations)


class _Reader:
    """Reads keys and values of one file, and collects their problems."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file
        self.problems: list[str] = []

    def keys(
        self, mapping: Mapping[str, object], option_names: Iterable[str], within: str = ""
    ) -> Iterator[tuple[str, str, object]]:
        """Yield (key, name, value) of the known keys; ``-`` in a key is read as ``_``."""
        option_names = [*option_names]
        names: dict[str, str] = {}
        above = (within,) if within else ()
        for key, value in mapping.items():
            name = key.replace("-", "_")
            where = self.file.where(*above, key)
            if name not in option_names:
                group = f"{within} has no option" if within else "there is no option"
                self.problems.append(f"{where}: {group} '{key}'{nearest(name, option_names)}")
            elif name in names:
                self.problems.append(f"{where}: {key} occurs twice, as {names[name]} too; give it once")
            else:
                names[name] = key
                yield key, name, value

    def operation(self, key: str, name: str, value: object) -> dict[str, OptionSetting]:
        """Return the options of one operation."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problems.append(f"{self.file.where(key)}: {key} is an operation; its options are needed below it")
            return {}
        table, settings = spice_options(), {}
        for inner, option, option_value in self.keys(value, operations()[name], key):
            if setting := self.setting((key, inner), table[option], option_value):
                settings[option] = setting
        return settings

    def setting(self, keys: tuple[str, ...], option: SpiceOption, value: object) -> OptionSetting | None:
        """Return the value of an option; None if it is unset or invalid."""
        if value is None:
            return None
        try:
            return OptionSetting(option.text(value), str(self.file.path), self.file.line(*keys))
        except ValueError as err:
            self.problems.append(f"{self.file.where(*keys)}: {'.'.join(keys)} is {as_yaml(value)}; {err}")
            return None


def as_yaml(value: object) -> str:
    """Return a value as YAML would write it, as far as messages need that."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return "a block of keys" if isinstance(value, dict) else f"'{value}'"
