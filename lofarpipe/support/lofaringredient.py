"""Typed inputs that third-party plugins and scripts declare. Source: doc/spec/lofarpipe.md, sections 4.3 and 5.3."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from lofarpipe.support.utilities import exists, string_to_list


class Field:
    """A type of input: ``coerce`` makes a value of a text as far as it can, ``is_valid`` checks a value.

    Option strings such as ``"--number"`` are kept in ``optionstrings``. ``default`` and ``optional`` are there only if
    they were given.
    """

    def __init__(self, *opts: str, **attrs: Any) -> None:
        self.optionstrings = opts
        self.help: str = attrs.get("help", "")
        if "default" in attrs:
            self.default = attrs["default"]
        elif attrs.get("optional"):
            self.optional = True

    def is_valid(self, value: Any) -> bool:
        """Return whether a value is of this type; each type defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define is_valid")

    def coerce(self, value: Any) -> Any:
        """Return a value as this type, or as it is where that cannot be."""
        return value


class StringField(Field):
    """A text."""

    def is_valid(self, value: Any) -> bool:
        """Return whether it is a text."""
        return isinstance(value, str)


class _NumberField(Field):
    number: type[int] | type[float]

    def is_valid(self, value: Any) -> bool:
        """Return whether the value is such a number."""
        return isinstance(value, self.number)

    def coerce(self, value: Any) -> Any:
        """Return a text as a number."""
        try:
            return self.number(value)
        except (TypeError, ValueError, OverflowError):
            return value


class IntField(_NumberField):
    """A whole number."""

    number = int


class FloatField(_NumberField):
    """A number."""

    number = float


class BoolField(Field):
    """True or False. Valid texts are ``True``, and ``False``, ``None`` and the empty text for False."""

    def is_valid(self, value: Any) -> bool:
        """Return whether it is True or False."""
        return isinstance(value, bool)

    def coerce(self, value: Any) -> Any:
        """Return the truth of a text."""
        texts = {"True": True, "False": False, "None": False, "": False}
        return texts.get(value, value) if isinstance(value, str) else value


class FileField(Field):
    """The name of something that exists."""

    def is_valid(self, value: Any) -> bool:
        """Return whether it exists."""
        return exists(str(value))


class ExecField(Field):
    """The name of an executable file."""

    def is_valid(self, value: Any) -> bool:
        """Return whether it may be executed."""
        return isinstance(value, str | os.PathLike) and os.access(value, os.X_OK)


class DirectoryField(Field):
    """The name of a directory, created if possible."""

    def is_valid(self, value: Any) -> bool:
        """Return whether it is a directory."""
        return os.path.isdir(str(value))  # noqa: PTH112 - Path raises for overlong names

    def coerce(self, value: Any) -> Any:
        """Make the directory and return its name."""
        try:
            Path(str(value)).mkdir(parents=True, exist_ok=True)
        except OSError:  # is_valid tells
            return value
        return value


class ListField(Field):
    """A list; as text ``[a, b]``."""

    def is_valid(self, value: Any) -> bool:
        """Return whether it is a list or the like."""
        return not isinstance(value, str) and isinstance(value, Iterable)

    def coerce(self, value: Any) -> Any:
        """Return the items of a text."""
        return string_to_list(value) if isinstance(value, str) else value


class FileList(ListField):
    """A list of names that exist."""

    def is_valid(self, value: Any) -> bool:
        """Return whether it is a list of names that exist."""
        return super().is_valid(value) and all(exists(str(name)) for name in value)


class DictField(Field):
    """A dictionary."""

    def is_valid(self, value: Any) -> bool:
        """Return whether it is a dictionary."""
        return isinstance(value, dict)


class LOFARingredient(MutableMapping[str, Any]):
    """Values by the name of their Field, checked when they are set; without a value, the field's default.

    Raises
    ------
    TypeError
        If a value is invalid, or has no field.
    KeyError
        If the field has neither value nor default.
    """

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = dict(fields)
        self._values: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key in self._values:
            return self._values[key]
        if not hasattr(self._fields.get(key), "default"):
            raise KeyError(key)
        return self._checked(key, self._fields[key].default)

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = self._checked(key, value)

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._fields if key in self._values or hasattr(self._fields[key], "default"))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, key: object) -> bool:
        return key in set(self)

    def missing(self) -> list[str]:
        """Return the required fields without a value."""
        return [key for key, field in self._fields.items() if key not in self and not hasattr(field, "optional")]

    def complete(self) -> bool:
        """Return whether all required fields have values."""
        return not self.missing()

    def _checked(self, key: str, value: Any) -> Any:
        if key not in self._fields:
            raise TypeError(f"Ingredient {key} not defined")
        field = self._fields[key]
        converted = field.coerce(value)
        if not field.is_valid(converted):
            raise TypeError(f"{converted!r} is an invalid value for {type(field).__name__} {key}")
        return converted
