"""Which names are misspelt for sure, and which are alike on purpose."""

import pytest

from lofarpipe.errors import LONGEST_NAME, is_typing_error, misspelt


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("do_magik", "do_magic"),  # a wrong letter
        ("do_mgaic", "do_magic"),  # two swapped
        ("avrage", "average"),
        ("aaverage", "average"),
        ("wsclean_shaloow", "wsclean_shallow"),
        ("do-magic", "do_magic"),
        ("domagic", "do_magic"),
        ("do__magic", "do_magic"),
        ("Average", "average"),
    ],
)
def test_slip_suggests_name(name: str, meant: str) -> None:
    assert is_typing_error(name, meant)
    assert is_typing_error(meant, name)
    assert misspelt([name], ["other", meant]) == {name: meant}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("average1", "average2"),
        ("average", "average2"),
        ("plot_i", "plot_q"),
        ("phase", "phases"),
        ("phases_cal", "phase_cal"),
        ("losotoA", "losotoB"),
        ("mask", "task"),
        ("wsclean_hihgh", "wsclean_high"),  # the shorter word has 4 letters
        ("average", "average"),
        ("average", "avearge_x"),
        ("predict", "unpredict"),
        ("concat", "copy"),
        ("", "a"),
        ("a" * LONGEST_NAME + "bc", "a" * LONGEST_NAME + "cb"),
    ],
)
def test_unrelated_names_are_not_slips(one: str, other: str) -> None:
    assert misspelt([one], [other]) == {}
    assert misspelt([other], [one]) == {}
    assert len(one) > LONGEST_NAME or not is_typing_error(one, other)


def test_first_similar_name_is_suggested() -> None:
    assert misspelt(["clean_high", "averoge"], ["averege", "average"]) == {"averoge": "averege"}
    assert misspelt([], ["average"]) == {}
