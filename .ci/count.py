"""Add up xUnit files and print ``N passed, N failed, N skipped``; exit 1 if one failed or is missing."""

import sys
from pathlib import Path
from xml.etree import ElementTree

tests = failed = skipped = 0
for name in sys.argv[1:]:
    if not Path(name).exists():
        print(f"missing: {name}")
        failed += 1
        tests += 1
        continue
    for suite in ElementTree.parse(name).getroot().iter("testsuite"):
        if suite.find("testsuite") is None:  # the outermost of Robot's suites repeats the sums of the inner ones
            tests += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
print(f"{tests - failed - skipped} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed or not tests else 0)
