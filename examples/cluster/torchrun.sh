#!/usr/bin/env bash
# One tracked series on the GPUs of one machine: a shard for each process.
#
#   examples/cluster/torchrun.sh SERIES OUT [PROCESSES]
#
# No process group is made: the processes share nothing but the folder. The last line
# puts the result together, from what all of them measured.
set -euo pipefail
series=$1 out=$2 processes=${3:-$(nvidia-smi --list-gpus | wc -l)}

torchrun --standalone --nproc-per-node "$processes" --no-python bash -c \
  "CUDA_VISIBLE_DEVICES=\$LOCAL_RANK interp track '$series' --out '$out' --shard auto"
interp track "$series" --out "$out"
