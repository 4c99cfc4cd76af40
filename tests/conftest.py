"""Children of tests start with default signals, however the tests were started."""

import signal
import sys
from pathlib import Path
from types import FrameType


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler is back at its default in a child after exec, an ignored signal stays ignored."""


# Under nohup SIGHUP is ignored, in the background of a shell script SIGINT, and children would inherit that (row 40).
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _ignore)

sys.path.insert(0, str(Path(__file__).parent))  # for made_runs
