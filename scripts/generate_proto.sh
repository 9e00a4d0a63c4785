#!/bin/sh
# Writes the Python code of proto/ into server/ (or into the folder given). Run it after every change of a .proto;
# a test fails while the committed code is stale. Generated code refuses to load on a grpcio older than the
# grpcio-tools that wrote it, so the lower bound in pyproject.toml follows the tools.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
out=${1:-$root/server}
python=${PYTHON:-$root/.venv/bin/python}
cd "$root/proto"
exec "$python" -m grpc_tools.protoc -I. --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" \
    trabecula/v1/report.proto trabecula/v1/screening.proto trabecula/v1/admin.proto
