"""Maps of the completely imaged beams: root names, images, common beams."""

from pathlib import Path

from lofarpipe.support.data_map import DataMap, DataProduct
from lofarpipe.support.utilities import files_of, list_text

OUTPUTS = ("mapfile", "images.mapfile", "beams.mapfile")
DRY_RUN_WRITES = ("mapfile_dir",)
BEAM = ".common_beam.json"


def plugin_main(args, roots, products, mapfile_dir, directory, **kwargs):
    """Write the maps; entries of a beam with a missing run are skipped.

    Parameters
    ----------
    roots, products : text of a list
        For each run a map of root names, and a map of its jobs' lists of files.
    directory : path
        Where the files with the common beams go.

    Returns
    -------
    dict
        ``mapfile``: the roots; ``images.mapfile``: for each the files of all runs; ``beams.mapfile``: the name of the
        file with its common beam.
    """
    runs = [_Run(*names) for names in zip(_names(roots), _names(products), strict=True)]
    first = runs[0].roots
    files_by_place = [[run.files(place) for run in runs] for place in range(len(first))]
    skips = [any(files is None for files in of_runs) or not any(of_runs) for of_runs in files_by_place]
    entries = {
        "mapfile": [root.file for root in first],
        "images.mapfile": [
            list_text([name for files in of_runs for name in files or ()]) for of_runs in files_by_place
        ],
        "beams.mapfile": [f"{directory}/{Path(root.file).name}{BEAM}" for root in first],
    }
    outputs = {}
    for key, files in entries.items():
        path = str(Path(mapfile_dir) / f"whole_beams.{key}")
        products = [DataProduct(root.host, file, skip) for root, file, skip in zip(first, files, skips, strict=True)]
        DataMap(products).save(path)
        outputs[key] = path
    return outputs


def _names(text):
    return files_of(text)


class _Run:
    """One run of each beam: root names and output files."""

    def __init__(self, roots, products):
        self.roots = DataMap.load(roots).data
        self._lists = [files_of(entry.file) for entry in DataMap.load(products).data if not entry.skip]

    def files(self, place):
        """Return the output files of a beam's run; empty without such a run, None if it failed."""
        root = self.roots[place]
        if root.skip:
            return []
        return next((files for files in self._lists if files and files[0].startswith(f"{root.file}-")), None)
