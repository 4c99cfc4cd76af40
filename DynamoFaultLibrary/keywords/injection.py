"""How a keyword injects a fault and tells of it."""

from datetime import timedelta

from DynamoFaultLibrary.faults.injector import ActiveFault, Fault
from DynamoFaultLibrary.keywords.component import Component
from DynamoFaultLibrary.reports.timeline import EventKind


def inject(component: Component, fault: Fault, what: str, ttl: timedelta | None = None) -> ActiveFault:
    """Inject a fault that belongs to the running test, and put it on the timeline as `what`, with its evidence."""
    context = component.context
    active = context.injector.inject(fault, context.options.fault_ttl if ttl is None else ttl, context.test)
    component.note(EventKind.FAULT, f"{fault.kind}: {what}", active.injected_s)
    for line in active.entry.evidence:
        component.note(EventKind.EVIDENCE, line, active.active_s)
    return active
