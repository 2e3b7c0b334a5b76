#!/usr/bin/env bash
# Evaluate a model on several machines: sbatch examples/slurm.sh MODEL [OPTIONS...]
# The same command resumes a job that was interrupted.
#SBATCH --job-name=hf_core_bpb
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail

model=${1:?expected a model: sbatch examples/slurm.sh MODEL}
shift
host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)

# One task per machine; torchrun starts one process per GPU.
srun torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" \
  --nproc_per_node "${SLURM_GPUS_ON_NODE:-1}" \
  --rdzv_id "$SLURM_JOB_ID" \
  --rdzv_backend c10d \
  --rdzv_endpoint "$host:29500" \
  -m hf_core_bpb --model "$model" --output "results/${model//\//_}" "$@"
