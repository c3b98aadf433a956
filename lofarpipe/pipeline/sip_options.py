"""What the archive wants to know of a sky image and nothing here can tell: asked for as options, never made up.

Source: the mandatory elements of LTA-SIP.xsd, versions 2.6.1 and 2.7.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lofarpipe.pipeline.control import list_items
from lofarpipe.pipeline.references import references

NO_PREFIX = "none"  # what the option parset_prefix says for no prefix
NONE = NO_PREFIX  # what an option says for "not wanted"
SCHEMA_VERSIONS = ("2.7.2", "2.6.1")
INTEGER_IDENTIFIERS = ("2.7.2",)  # where an identifier is a whole number; before that it was any text

#: Values that have to be given where a sip_file is wanted, and what they mean.
REQUIRED = {
    "sip_project_code": "code of the project that owns the data",
    "sip_primary_investigator": "primary investigator of the project",
    "sip_contact_author": "contact author of the project",
    "sip_project_description": "description of the project",
    "sip_identifier_source": "system that gave the identifiers, such as MoM or SAS",
    "sip_product_identifiers": "identifier of each delivered image, in their order",
    "sip_process_identifier": "identifier of this pipeline run",
    "sip_observation_id": "identifier of the observation in the scheduling system",
    "sip_source_identifiers": "identifiers of the measurement sets that the image is made of",
    "sip_strategy_name": "name of the processing strategy",
    "sip_strategy_description": "description of the processing strategy",
}
IDENTIFIERS = ("sip_product_identifiers", "sip_process_identifier", "sip_observation_id", "sip_source_identifiers")


def is_wanted(values: Mapping[str, object]) -> bool:
    """Whether a SIP is asked for."""
    return str(values.get("sip_file", "")) not in ("", NONE)


def problems(values: Mapping[str, object]) -> list[str]:
    """Return what is wrong with the values for a SIP, as sentences: all that are missing are in one of them.

    ``values`` are those of the control keys, texts or lists; one that refers to the output of a step counts as given.
    """
    if not is_wanted(values):
        return []
    version = str(values.get("sip_schema_version", SCHEMA_VERSIONS[0]))
    found = []
    if version not in SCHEMA_VERSIONS:
        found.append(f"sip_schema_version: is '{version}'; one of {', '.join(SCHEMA_VERSIONS)} is needed")
    if str(values.get("product_type", "SkyImage")) != "SkyImage":
        found.append(f"sip_file: product_type is '{values['product_type']}'; a SIP is written for SkyImage only")
    missing = [f"{name} ({meaning})" for name, meaning in REQUIRED.items() if not items(values.get(name))]
    if missing:
        values_needed = f"{len(missing)} more value{'s' if len(missing) > 1 else ''}"
        found.append(
            f"sip_file: the archive needs {values_needed}, which only you know: {', '.join(missing)}; set them, "
            "or sip_file = none"
        )
    return found + (_bad_identifiers(values) if version in INTEGER_IDENTIFIERS else [])


def _bad_identifiers(values: Mapping[str, object]) -> list[str]:
    given = [(name, text) for name in IDENTIFIERS for text in items(values.get(name)) if not references(text)]
    return [
        f"{name}: '{text}' is no identifier; a whole number is needed (any text with sip_schema_version = 2.6.1)"
        for name, text in given
        if not (text.isascii() and text.isdigit())
    ]


def items(value: object) -> Sequence[str]:
    """Return the items of a value that is one text, the text of a list, or a list."""
    if isinstance(value, str):
        return list_items(value)
    return [str(item) for item in value] if isinstance(value, list) else []
