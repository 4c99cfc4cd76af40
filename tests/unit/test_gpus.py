import pytest

from DynamoFaultLibrary.platforms.local.commands import visible_gpus


@pytest.mark.parametrize(("chosen", "gpus"), [("2,3", ["2", "3"]), ("", []), ("GPU-8f", ["GPU-8f"])])
def test_an_inherited_choice_of_gpus_is_kept(monkeypatch: pytest.MonkeyPatch, chosen: str, gpus: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible_gpus() == gpus
