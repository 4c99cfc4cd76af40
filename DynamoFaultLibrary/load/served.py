"""Which replicas served the requests of a load: read off their logs, kept in ``served_by.jsonl`` beside its records.

The id that a server gives an answer (``chatcmpl-<uuid>``) is the ``request_id`` that its workers log when they receive
the request (Dynamo 1.4). Prefill and decode worker both do; after a migration so does the next worker.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.records import complete_lines
from DynamoFaultLibrary.load.table import Mask, Table, response_number

SERVED_FILE = "served_by.jsonl"
_NOBODY = -1


@dataclass(frozen=True, eq=False)
class Served:
    """Replicas by request. `replicas` are all that there were, also those that served nothing.

    A request counts for the last replica of each service that received it: the one that finished it.
    """

    replicas: Sequence[str]
    chains: Sequence[tuple[str, ...]]
    """The different ways that requests took: replicas in the order in which they received them."""
    numbers: NDArray[np.float64]
    """`response_number` of each request, in rising order."""
    codes: NDArray[np.int64]
    """Index into `chains` of each."""

    @classmethod
    def of(cls, replicas: Iterable[str], ways: Mapping[str, Sequence[str]]) -> Self:
        """From the replicas that received each request, by the UUID of its answer."""
        codes: dict[tuple[str, ...], int] = {}
        pairs = sorted((response_number(uuid), codes.setdefault(tuple(way), len(codes))) for uuid, way in ways.items())
        numbers = np.array([number for number, _ in pairs], dtype=np.float64)
        return cls(list(replicas), list(codes), numbers, np.array([code for _, code in pairs], dtype=np.int64))

    def codes_of(self, table: Table) -> NDArray[np.int64]:
        """Index into `chains` of each row; -1 where no log knows the request."""
        if not len(self.numbers):
            return np.full(len(table), _NOBODY)
        places = np.minimum(np.searchsorted(self.numbers, table.response), len(self.numbers) - 1)
        found: NDArray[np.int64] = np.where(self.numbers[places] == table.response, self.codes[places], _NOBODY)
        return found

    def unknown(self, table: Table) -> Mask:
        """Rows of answers that no log knows."""
        found: Mask = (self.codes_of(table) == _NOBODY) & (table.is_ok | ~np.isnan(table.response))
        return found

    def nobody(self, table: Table) -> Mask:
        """Rows of requests without an answer: no replica is known to have served them."""
        return ~table.is_ok & np.isnan(table.response)

    def by(self, table: Table, replica: str | int) -> Mask:
        """Rows that a replica served.

        Raises:
            LoadError: there is no such replica.
        """
        name = self.name_of(replica)
        served = [code for code, chain in enumerate(self.chains) if name in _finishers(chain)]
        found: Mask = np.isin(self.codes_of(table), served)
        return found

    def name_of(self, replica: str | int) -> str:
        """The name of a replica; a number is enough where there is one service.

        Raises:
            LoadError: there is no such replica.
        """
        services = {name.rpartition("-")[0] for name in self.replicas}
        wanted = str(replica)
        if wanted.isdecimal() and len(services) == 1:
            wanted = f"{services.pop()}-{wanted}"
        if wanted not in self.replicas:
            raise LoadError(f"no replica '{replica}' among those that serve requests; there are {list(self.replicas)}")
        return wanted

    def check_complete(self, table: Table, place: str) -> None:
        """Refuse to tell anything by replica when an answer is in no replica's log.

        Raises:
            LoadError: some answers are in none.
        """
        unknown, answered = int(self.unknown(table).sum()), int((~self.nobody(table)).sum())
        if unknown or not answered:
            raise LoadError(
                f"which replica served the requests of {place} is not known: {unknown} of {answered} answers are in no "
                f"log of {list(self.replicas)}"
            )

    def save(self, path: Path, table: Table) -> None:
        """Write what concerns a load into its folder."""
        lines = [orjson.dumps({"replicas": list(self.replicas)})]
        codes = self.codes_of(table)
        known = codes != _NOBODY
        for number, code in zip(table.response[known].tolist(), codes[known].tolist(), strict=True):
            lines.append(orjson.dumps({"answer": f"{int(number):012x}", "served_by": self.chains[code]}))
        partial = path / f"{SERVED_FILE}.part"
        partial.write_bytes(b"\n".join(lines) + b"\n")
        partial.replace(path / SERVED_FILE)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What lies in a load's folder, if it has been found out.

        Raises:
            LoadError: the file is not what `save` writes.
        """
        file = path / SERVED_FILE
        if not file.exists():
            return None
        try:
            first, *others = (orjson.loads(line) for line in complete_lines(file))
            ways: dict[str, Any] = {f"{_PADDING}{each['answer']}": each["served_by"] for each in others}
            return cls.of(first["replicas"], ways)
        except (ValueError, TypeError, KeyError) as error:
            raise LoadError(f"'{file}' is not what this library writes: {error!r}") from error


_PADDING = "0" * 8 + "-0000-0000-0000-"
"""What makes the last 12 digits of a UUID look like one."""


def _finishers(chain: Sequence[str]) -> set[str]:
    return set({name.rpartition("-")[0]: name for name in chain}.values())
