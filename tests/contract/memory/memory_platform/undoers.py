"""What the undo recipes of platform `memory` mean: its own process is asked, whoever undoes them."""

import json
import urllib.error
import urllib.request

from DynamoFaultLibrary.errors import RecoveryError
from DynamoFaultLibrary.ledger.undo import Rank, Recipe, Undoer

TIMEOUT = 2.0


def _ask(recipe: Recipe) -> str:
    server, body = str(recipe["server"]), json.dumps(recipe, default=str).encode()
    try:
        with urllib.request.urlopen(f"{server}undo", body, timeout=TIMEOUT) as answer:  # noqa: S310  # our own server
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        if error.code != 410:  # gone: the port is another one's now
            raise RecoveryError(f"'{server}' did not undo it: {error.read().decode()}") from error
    except OSError as error:
        if not isinstance(getattr(error, "reason", error), ConnectionRefusedError):
            raise RecoveryError(f"'{server}' does not answer: {error}") from error
    return "its memory is gone with its process"


UNDOERS = {
    "continue": Undoer(_ask, Rank.FAULT),
    "join": Undoer(_ask, Rank.FAULT),
    "start": Undoer(_ask, Rank.REPLACEMENT, goes_with_deployment=True),
}
