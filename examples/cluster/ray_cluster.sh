#!/usr/bin/env bash
# A comparison on a Ray cluster, one GPU for each shard.
#
#   on the head:       ray start --head --port=6379
#   on each machine:   ray start --address=HEAD:6379
#   then, on any:      examples/cluster/ray_cluster.sh HEAD:6379 BASE POST OUT STATEMENTS...
#
# OUT must lie on a file system that all machines share. A shard whose worker dies is
# started again and goes on with the parts that are missing.
set -euo pipefail
head=$1 base=$2 post=$3 out=$4
shift 4

interp compare "$base" "$post" --out "$out" --ray "$head" --statements "$@"
