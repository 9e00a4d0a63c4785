"""Generated from proto/trabecula/v1 by scripts/generate_proto.sh; do not edit."""
