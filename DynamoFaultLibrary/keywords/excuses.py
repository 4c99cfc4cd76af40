"""What a known defect of the system may look like, and what not even the tag robot:skip-on-failure may hide.

Excused are failed assertions, of this library's checks and of other libraries, and waiting for the system in vain. Not
excused is a test that is broken itself: a graph that cannot be deployed, a fault that was not injected, proven or
undone, records that are not there, a keyword, argument or variable that does not exist.
"""

import re
from collections.abc import Collection, Iterator

from robot import result
from robot.errors import TimeoutExceeded

from DynamoFaultLibrary.errors import Symptom

_SKIPPED = "Failed test skipped using"
_BROKEN = re.compile(
    r"No keyword with name |Variable '.*' not found|Keyword '.*' (expected|got|missing)|ValueError: Argument "
)
_WAITING = frozenset({"Check", "Getter", "Wait", "Load", "Request"})
"""Tags of keywords that wait for the system under test: a test's timeout there is its failure.

One with the tag ``Fault`` waits for its evidence: a fault that is not proven is no defect of the system."""


def is_symptom(error: BaseException, tags: Collection[str]) -> bool:
    """Whether a keyword of this library with these tags failed for what the system under test did."""
    if isinstance(error, TimeoutExceeded):
        return "Fault" not in tags and not _WAITING.isdisjoint(tags)
    return isinstance(error, AssertionError | Symptom)


def unexcused(outcome: result.TestCase, broken: Collection[int]) -> list[str]:
    """What a test failed with that was skipped for its tag, though no defect of the system looks like that.

    `broken` are the identities of those failed keywords of this library that showed no symptom.
    """
    if not outcome.skipped or not outcome.message.startswith(_SKIPPED):
        return []
    failures = list(_failures([outcome.setup, *outcome.body, outcome.teardown]))
    if not failures:  # no keyword of this test failed: the setup of its suite did
        return [outcome.message.partition("Original failure:\n")[2]]
    return [each.message for each in failures if id(each) in broken or _BROKEN.match(each.message)]


def _failures(items: Collection[object]) -> Iterator[result.Keyword]:
    """The innermost failures of what has failed."""
    for item in items:
        if not getattr(item, "failed", False):
            continue
        inner = list(_failures(getattr(item, "body", [])))
        if inner:
            yield from inner
        elif isinstance(item, result.Keyword):
            yield item
