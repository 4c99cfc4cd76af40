"""How far faults may reach: a refusal is better than an apology."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from DynamoFaultLibrary.errors import FaultError


@dataclass(frozen=True)
class BlastRadius:
    """Limits for all faults of a run; None means: no limit."""

    services: Sequence[str] | None = None
    namespaces: Sequence[str] | None = None
    nodes: Sequence[str] | None = None
    max_faults: int | None = None

    def check(self, kind: str, target: dict[str, Any], active: Sequence[str]) -> None:
        """See that a fault on `target` is allowed while `active` ones are in effect.

        Raises:
            FaultError: it is not; the message says which limit forbids it.
        """
        for what in ("service", "namespace", "node"):
            allowed = getattr(self, f"{what}s")
            hit = [*([target[what]] if target.get(what) is not None else []), *target.get(f"{what}s", [])]
            for wanted in hit if allowed is not None else ():
                if wanted not in allowed:
                    raise FaultError(
                        f"'{kind}' on {what} '{wanted}' is refused: the library's import allows the {what}s "
                        f"{list(allowed)}"
                    )
        if self.max_faults is not None and len(active) >= self.max_faults:
            if not active:
                raise FaultError(f"'{kind}' is refused: the library's import allows no fault (max_faults=0)")
            many = "1 fault is" if len(active) == 1 else f"{len(active)} faults are"
            raise FaultError(
                f"'{kind}' is refused: {many} active ({', '.join(active)}), and the library's import allows "
                f"{self.max_faults} at once"
            )
