#!/bin/bash
# A job for SLURM: sbatch scripts/cluster/slurm.sh
#
# Two minutes before the time limit, or when the job is preempted, SLURM sends SIGUSR1 to this script. The launch wrapper
# passes it on, the first learner saves, and the job is queued again. Then it continues.
#
# This file was written from SLURM's documentation and has not run on a cluster yet.
#SBATCH --job-name=rekindle
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

# On a file system that the first node keeps.
RUNS=$SLURM_SUBMIT_DIR/runs/my-run

# Each process computes with the cores of its task.
export REKINDLE_NUM_THREADS=$SLURM_CPUS_PER_TASK
# `mpirun` takes nodes and processes from the allocation.
export REKINDLE_MPIRUN_ARGS="--map-by slot:PE=$SLURM_CPUS_PER_TASK -x REKINDLE_NUM_THREADS -x OMPI_MCA_mpi_yield_when_idle"

launch() {
    scripts/cluster/launch "$RUNS" my-config.toml --num-learners 2 &
    child=$!
    # Signals for this script are those of the wrapper.
    trap 'kill -USR1 "$child"' USR1 TERM
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        code=$?
    done
}

launch
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
