#!/usr/bin/env bash
# One capture as a SLURM array: 8 tasks, each a shard, one GPU each.
#
#   sbatch examples/cluster/slurm_array.sh MODEL PROMPTS STORE
#
# All tasks write into the same STORE, which must lie on a file system that they share.
# SLURM sends SIGUSR1 two minutes before the time is over: the task stops after a clean
# part with exit code 75 and is queued again; it goes on where it was.
#SBATCH --job-name=interp-capture
#SBATCH --array=0-7
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --time=02:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
set -uo pipefail

interp capture "$1" "$2" --out "$3" --shard auto &
worker=$!
# The shell gets the signal; the command is to get it.
trap 'kill -USR1 "$worker"' USR1
wait "$worker"; code=$?
# A trapped signal ends the first wait before the command has ended.
while kill -0 "$worker" 2>/dev/null; do wait "$worker"; code=$?; done

if [ "$code" -eq 75 ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
  exit 0
fi
exit "$code"
