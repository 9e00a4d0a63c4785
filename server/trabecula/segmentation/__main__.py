"""Write the JSON Schema of model manifests to standard output."""

import json
import sys

from trabecula.segmentation.bundle import manifest_schema

sys.stdout.write(json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n")
