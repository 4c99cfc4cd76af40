"""What undoes a run's faults at their expiry and at the run's end, whatever kills the run: a process of its own.

The process runs without site-packages (``python -S``), so that robot does not wait for it; `client` is robot's end.
"""
