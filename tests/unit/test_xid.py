from pathlib import Path

import pytest

from DynamoFaultLibrary.nodes.xid import ERROR_NAMES, STICKY, XIDS, c_table

HEADER = Path(__file__).parents[2] / "cuda_shim" / "src" / "xid_table.h"


def test_the_table_of_the_shim_is_the_catalogues() -> None:
    """When it is not: python -m DynamoFaultLibrary.nodes.xid > cuda_shim/src/xid_table.h."""
    assert HEADER.read_text() == c_table()


def test_the_codes_that_users_ask_for_are_there_and_fail_calls() -> None:
    for code in (43, 48, 74, 79, 94, 95, 119, 120):
        effect = XIDS[code].cuda
        assert effect is not None
        assert effect.error > 0


def test_79_has_fallen_off_the_bus_and_31_is_the_page_fault() -> None:
    assert str(XIDS[79]) == "XID 79 (GPU has fallen off the bus)"
    assert "page fault" in XIDS[31].meaning
    assert [code for code, xid in XIDS.items() if "page fault" in xid.meaning] == [31]


@pytest.mark.parametrize("code", [13, 31, 43, 63, 92, 94, 121])
def test_what_the_application_may_be_to_blame_for_cordons_no_node(code: int) -> None:
    assert XIDS[code].fatal is False


@pytest.mark.parametrize("code", [46, 48, 62, 64, 74, 79, 95, 109, 110, 119, 120, 136, 140, 143])
def test_what_the_gpu_is_to_blame_for_cordons_its_node(code: int) -> None:
    assert XIDS[code].fatal is True


def test_every_error_has_its_name_and_no_xid_comes_twice() -> None:
    errors = {xid.cuda.error for xid in XIDS.values() if xid.cuda} | {100, 46}
    assert errors <= set(ERROR_NAMES)
    assert len({xid.mnemonic for xid in XIDS.values()}) == len(XIDS)


def test_an_error_is_sticky_by_its_code() -> None:
    sticky = {xid.cuda.error for xid in XIDS.values() if xid.cuda and xid.cuda.is_sticky}
    assert sticky == {214, 700, 702, 719, 999}
    assert sticky <= STICKY
