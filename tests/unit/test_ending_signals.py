import pytest

from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.faults.signals import ending_signal


@pytest.mark.parametrize(
    ("name", "number"), [("SIGKILL", 9), ("kill", 9), ("9", 9), (" sigterm ", 15), ("INT", 2), ("SIGHUP", 1)]
)
def test_a_signal_has_a_number_by_each_of_its_names(name: str, number: int) -> None:
    assert ending_signal(name) == number


@pytest.mark.parametrize("name", ["SIGNOTHING", "", "-9", "9.0", "SIG", "0", "99"])
def test_an_unknown_signal_is_an_error_with_examples(name: str) -> None:
    with pytest.raises(FaultError, match="is not a signal; examples are SIGKILL, SIGTERM, SIGINT, SIGHUP") as raised:
        ending_signal(name)
    assert str(raised.value).startswith(f"'{name}' ")


@pytest.mark.parametrize("name", ["SIGSTOP", "tstp", "18", "CHLD", "SIGWINCH", "URG"])
def test_a_signal_that_ends_nothing_is_refused(name: str) -> None:
    with pytest.raises(FaultError, match=r"SIG[A-Z]+ does not end a process; use 'Stall Process'"):
        ending_signal(name)
