"""A dry run of the traced pipeline prints the commands that it then runs: maps are named, not referred to."""

from pathlib import Path

from magic_script import MAGIC

PLANS = f"DRY_RUN_WRITES = ('mapfile_dir',)\n\ndef main(*args, **kwargs):\n    {MAGIC}\n"


def test_dry_run_predicts_golden_pipeline(site, capsys):
    for n in (1, 2, 3):
        (site.here / "data" / f"L1_SB00{n}.MS").mkdir()
    (site.here / "my/scripts/magic.py").write_text(PLANS)
    (site.here / "my/scripts/magic.py").chmod(0o755)
    for name in ("plot_uvcov.py", "plot_image.py", "make_source_list.py"):
        site.script(name)
    text = (Path(__file__).parent / "golden.parset").read_text()
    assert site.run(text, "--dry-run") == 0
    printed = capsys.readouterr().out.splitlines()
    assert site.calls() == []
    assert not any((site.here / name).exists() for name in ("run/p", "work/p"))
    assert site.run(text) == 0
    ran = (site.here / "run/p/commands.txt").read_text().splitlines()
    assert [line for line in printed if not line.startswith("#")] == ran
    assert len(ran) == 1 + 3 + 1 + 1 + 1 + 2 + 1  # magic, average, concat, WSClean, uv coverage, images, sources
