"""``helm test``: health, one synthetic phantom through the service, metrics. Ends with 0 when all of it is right."""

import argparse
import http.client
import json
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

parser = argparse.ArgumentParser()
parser.add_argument("--grpc", required=True)
parser.add_argument("--health", required=True)
parser.add_argument("--metrics", required=True)
parser.add_argument("--folder", type=Path, required=True)
parser.add_argument("--tls-folder", type=Path)
parser.add_argument("--token-file", type=Path, help="access token to show")
parser.add_argument("--study", type=Path, help="send this instead of a phantom")
arguments = parser.parse_args()


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def health(service):
    with grpc.insecure_channel(arguments.health) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10, wait_for_ready=True).status
    if status != health_pb2.HealthCheckResponse.SERVING:
        sys.exit(f"health of {service or 'the process'}: not serving")


def trabecula(*words):
    command = [sys.executable, "-m", "trabecula.cli", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        sys.exit(f"trabecula {words[0]} ended with {done.returncode}")
    return done.stdout


def uploads_counted():
    """On any of the pods: the upload went to one of them."""
    place = urllib.parse.urlsplit(arguments.metrics)
    for *_, address in socket.getaddrinfo(place.hostname, place.port, type=socket.SOCK_STREAM):
        connection = http.client.HTTPConnection(address[0], place.port, timeout=10)
        connection.request("GET", place.path)
        lines = connection.getresponse().read().decode().splitlines()
        if any(line.startswith("grpc_server_handled_total{") and "SubmitStudy" in line for line in lines):
            return True
    return False


for name in ("", "startup", "ready"):
    health(name)
say("health: serving")
study = arguments.study
if study is None:
    study = arguments.folder / "dicom"
    trabecula("phantom", str(arguments.folder), "--matrix", "256", "--slice-mm", "2.5", "--quiet")
    say("phantom: written")
certificates = []
if arguments.tls_folder is not None:
    for option, name in (("--tls-ca", "ca.crt"), ("--tls-certificate", "tls.crt"), ("--tls-key", "tls.key")):
        if (arguments.tls_folder / name).exists():
            certificates += [option, str(arguments.tls_folder / name)]
if arguments.token_file is not None:
    certificates += ["--token-file", str(arguments.token_file)]
report = json.loads(trabecula("submit", str(study), "--server", arguments.grpc, "--json", "--quiet", *certificates))
say(f"screening: {report.get('outcome', 'ended')}")
if not uploads_counted():
    sys.exit("metrics: no upload was counted")
say("metrics: the upload was counted")
