"""Who is told what happens in a run: terminal, log. The runner tells, the reporters show."""

from lofarpipe.report.classic_log import ClassicLog
from lofarpipe.report.events import Reporter, Reporters
from lofarpipe.report.journalled import Journalled
from lofarpipe.report.live import LiveTerminal
from lofarpipe.report.picture import Picture
from lofarpipe.report.screen import shows_live
from lofarpipe.report.statistics import Statistics
from lofarpipe.report.terminal import DEBUG, NORMAL, QUIET, VERBOSE, Terminal

__all__ = [
    "DEBUG",
    "NORMAL",
    "QUIET",
    "VERBOSE",
    "ClassicLog",
    "Journalled",
    "LiveTerminal",
    "Picture",
    "Reporter",
    "Reporters",
    "Statistics",
    "Terminal",
    "shows_live",
]
