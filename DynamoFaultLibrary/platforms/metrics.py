"""What the metrics of replicas say: Prometheus texts, sample by sample."""

from collections.abc import Iterator, Mapping

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from DynamoFaultLibrary.errors import Unready


def samples(texts: Mapping[str, str], name: str | None = None) -> Iterator[tuple[str, Sample]]:
    """Each sample, or each of that name, with the replica that told it; `texts` are by replicas.

    Raises:
        Unready: one is no text of Prometheus.
    """
    for replica, text in texts.items():
        try:
            found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        except ValueError as error:
            raise Unready(f"what {replica} tells as its metrics cannot be read: {error}") from error
        yield from ((replica, sample) for sample in found if name in (None, sample.name))
