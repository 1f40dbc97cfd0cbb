#!/bin/bash
# Trains one run on four nodes: sbatch slurm.sh RUN_DIR experiment=g2p data.train=F data.dev=F
#SBATCH --nodes=4 --ntasks-per-node=1 --requeue --time=2:00:00
run=$1; shift
workers=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | awk '{printf "%s\"%s:%d\"", (NR > 1 ? ", " : ""), $1, 2221 + NR}')
export workers
if [ -e "$run/config.yaml" ]; then set -- "resume=$run"; else
  set -- "$@" "run_dir=$run" training.strategy=multi_worker; fi
# --kill-on-bad-exit: a lost worker ends the job; exit code 75 asks for another try.
srun --kill-on-bad-exit bash -c '
  export TF_CONFIG="{\"cluster\": {\"worker\": [$workers]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
  exec seq2seq train "$@"' train "$@"
code=$?
if [ $code -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $code
