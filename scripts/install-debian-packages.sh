#!/usr/bin/env bash
# Debian packages that the tests use as independent judges and peers: dciodvfy, dcmtk, PixelMed and Orthanc (DICOM),
# poppler (PDF), Chromium (the pages), Node (FHIR validators, Helm), promtool (alert rules), debootstrap, buildah and runc
# (the image), bubblewrap (a start with read-only folders).
# Does nothing when they are there; says so and goes on where it may not install.
set -euo pipefail

declare -A package_of=(
    [dciodvfy]=dicom3tools [storescu]=dcmtk [Orthanc]=orthanc [java]=default-jre-headless [pdftotext]=poppler-utils
    [chromium]=chromium [node]=nodejs [npm]=npm [promtool]=prometheus
    [/usr/sbin/debootstrap]=debootstrap [buildah]=buildah [runc]=runc [bwrap]=bubblewrap
    [/usr/share/java/pixelmed.jar]=libpixelmed-java
    [/usr/share/orthanc/plugins/libOrthancDicomWeb.so]=orthanc-dicomweb
)
missing=()
for program in "${!package_of[@]}"; do
    case $program in
    /*) [ -e "$program" ] || missing+=("${package_of[$program]}") ;;
    *) command -v "$program" >/dev/null 2>&1 || missing+=("${package_of[$program]}") ;;
    esac
done
[ "${#missing[@]}" -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root=(sudo)
    else
        echo "NOT INSTALLED (needs root): ${missing[*]}. Tests that need them will be skipped and say so." >&2
        exit 0
    fi
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "NOT INSTALLED (no apt-get here): ${missing[*]}. Tests that need them will be skipped and say so." >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
