"""Writes the JSON Schema of a second reader's manifest to standard output."""

import json
import sys

from trabecula.second_reader.manifest import manifest_schema

sys.stdout.write(json.dumps(manifest_schema(), indent=2) + "\n")
