#!/bin/bash
#SBATCH --job-name=primes
#SBATCH --ntasks=4
#SBATCH --output=primes-%j.out
# Counts the primes below a limit by trial division, a share of the numbers for each task.
set -euo pipefail
limit=${1:-2000000}
# shellcheck disable=SC2016  # $ is the tasks' own, and awk's
srun --export=ALL /bin/bash -c '
    /usr/bin/awk -v limit="$0" -v task="$SLURM_PROCID" -v tasks="$SLURM_NTASKS" -v node="$SLURMD_NODENAME" "BEGIN {
        for (part = 0; part < 3; part++) {
            from = 2 * int(limit * part / 6); to = 2 * int(limit * (part + 1) / 6); count = 0
            for (n = from + 1 + 2 * task; n < to; n += 2 * tasks) {
                for (d = 3; d * d <= n && n % d; d += 2) ;
                if (d * d > n) count++   # 1 counts, in place of 2
            }
            printf \"%s task %d: %6d primes among its numbers from %d to %d\n\", node, task, count, from, to - 1
            fflush()
        }
    }"' "$limit" | tee counts-"$SLURM_JOB_ID"
awk -v limit="$limit" '{ sum += $4 } END { printf "%d primes below %d\n", sum, limit }' counts-"$SLURM_JOB_ID"
