"""One parset from two. Source: doc/spec/lofarpipe.md, section 5.4."""

from lofarpipe.support.parset import Parset

OUTPUTS = ("parset",)
DRY_RUN_WRITES = ("result_parset",)
SUFFIX = "_feedback_file"


def plugin_main(args, first_parset, second_parset, result_parset, **kwargs):
    """Write the keys of two parsets to the file ``<result_parset>_feedback_file``; the second replaces the first.

    Parameters
    ----------
    first_parset, second_parset : str
        The parsets.
    result_parset : str
        Name of the new parset, without ``_feedback_file``.

    Returns
    -------
    dict
        ``parset``: the full name of the new parset.
    """
    parset = Parset(first_parset)
    parset.adoptFile(second_parset)
    parset.writeFile(result_parset + SUFFIX)
    return {"parset": result_parset + SUFFIX}
