"""An SBOM on standard input, against CycloneDX's own schema. Exit code 1, and why, if it is none."""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(sys.stdin.read())
print(fault or "valid")
sys.exit(1 if fault else 0)
