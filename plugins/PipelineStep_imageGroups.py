"""Maps of groups of measurement sets: for each group its sets, and values that go with them."""

from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, DataProduct
from lofarpipe.support.parset_text import split_list, unescaped
from lofarpipe.support.utilities import list_text

OUTPUTS = ("sets.mapfile", "names.mapfile", "channels.mapfile", "scratch.mapfile", "words.mapfile", "headers.mapfile")
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, mapfile_dir, hosts, sets, names, channels="", scratch="", words="", headers="", **kwargs):
    """Write one map per list, with one entry per group.

    Parameters
    ----------
    hosts, sets, names, channels, scratch, words, headers : text of a list
        For each group: host, list of sets, root of image names, and further values of its command,
        the last one also a list. Empty lists make no map. Characters may be written as ``%`` and their code in
        two digits, as in URLs.

    Returns
    -------
    dict
        ``sets.mapfile`` and so on: the paths of the maps.
    """
    lists = {"sets": sets, "names": names, "channels": channels, "scratch": scratch, "words": words, "headers": headers}
    values = {key: [_value(item) for item in split_list(text)] for key, text in lists.items() if text}
    of_group = split_list(hosts)
    if wrong := [key for key, entries in values.items() if len(entries) != len(of_group)]:
        raise PipelineError(
            f"{wrong[0]} has {len(values[wrong[0]])} entries, and hosts {len(of_group)}; one each is needed"
        )
    outputs = {}
    for key, entries in values.items():
        path = Path(mapfile_dir) / f"groups.{key}.mapfile"
        DataMap([DataProduct(host, file, False) for host, file in zip(of_group, entries, strict=True)]).save(str(path))
        outputs[f"{key}.mapfile"] = str(path)
    return outputs


def _value(item):
    """Return an element of a list as a map has it."""
    return list_text([unescaped(name) for name in split_list(item)]) if item.startswith("[") else unescaped(item)
