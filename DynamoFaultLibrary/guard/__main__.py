"""A guard for a platform that hosts no processes; started by `DynamoFaultLibrary.guard.client`."""

import sys

from DynamoFaultLibrary.guard.guard import Guard, run_guard

run_guard(Guard, sys.argv)
