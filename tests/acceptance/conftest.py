import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from child import Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A place for child runs; whatever a test did, nothing may be left of them."""
    place = Sandbox(tmp_path)
    yield place
    assert place.leftovers() == []
