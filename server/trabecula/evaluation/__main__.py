"""Write the JSON Schema of ``results.json`` to standard output."""

import json
import sys

from trabecula.evaluation.results import json_schema

sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
