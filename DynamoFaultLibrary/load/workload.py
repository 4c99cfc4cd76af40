"""Makes the requests of a load: prompts and lengths, the same ones for the same seed."""

import random

from DynamoFaultLibrary.engines.model import FIRST_WORD, TINY_MODEL, VOCABULARY_SIZE
from DynamoFaultLibrary.load.address import split_login
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.records import RequestSpec

_TEXT = """
    time year people way day man thing woman life child world school state family student group country problem
    hand part place case week company system program question work number night point home water room mother
    area money story fact month lot right study book eye job word business issue side kind head house service
    friend father power hour game line end member law car city name team minute idea body back parent face level
    office door art war history party result change morning reason research girl guy moment air teacher force
    education
"""
WORDS = _TEXT.split()
"""Common English words: one token each for usual tokenizers."""

_TINY_WORDS = [str(token) for token in range(FIRST_WORD, VOCABULARY_SIZE)]


def prompt_of(tokens: int) -> str:
    """A prompt of so many words; with the project's own model a word is a token."""
    words = ["Tell", "me", "a", "long", "long", "long", "story", "about", "yourself", "?"]
    return " ".join(words[index] if index < len(words) else "long" for index in range(tokens))


class RequestMaker:
    """Makes the requests of one load, one after the other."""

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self._made = 0
        self._url, self._login = split_login(plan.url)
        self._random = random.Random(plan.seed)  # noqa: S311  # repeatable prompts, not secrets
        self._words = _TINY_WORDS if plan.model == TINY_MODEL else WORDS
        self._prefixes = [self._pick(plan.workload.prefix_tokens) for _ in range(plan.workload.prefixes)]

    def make(self, client: int, warmup: bool) -> RequestSpec:
        """The next request, for a client."""
        workload, plan = self.plan.workload, self.plan
        number, self._made = self._made, self._made + 1
        length = self._length(workload.input_tokens, workload.input_tokens_stddev)
        words = self._random.choice(self._prefixes)[:length]
        words = words + self._pick(length - len(words))
        cancelled = not warmup and self._random.random() < plan.cancellation_rate
        return RequestSpec(
            id=plan.request_id(number),
            url=self._url,
            login=self._login,
            endpoint=workload.endpoint,
            model=plan.model,
            prompt=" ".join(words),
            input_tokens=length,
            max_tokens=self._length(workload.output_tokens, workload.output_tokens_stddev),
            streaming=workload.streaming,
            timeout_s=plan.timeout_s,
            retries=plan.retries,
            cancel_after_s=plan.cancellation_delay_s if cancelled else None,
            extra_body=workload.extra_body,
            check_sequence=workload.check_sequence,
            load=plan.name,
            client=client,
            warmup=warmup,
        )

    def _pick(self, count: int) -> list[str]:
        return self._random.choices(self._words, k=count)

    def _length(self, mean: int, stddev: float) -> int:
        return mean if stddev == 0 else max(1, round(self._random.gauss(mean, stddev)))
