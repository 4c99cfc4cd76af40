#!/usr/bin/env bash
# The CUDA suite on a bare machine with an NVIDIA GPU and PyTorch. No network is needed there.
#
#   [WHEELS=DIRECTORY] tests/gpu/end_to_end.sh [RESULTS] [options of robot]
#
# WHEELS are installed beside what python3 has, for this run alone. Fill it elsewhere, for the Python that is there (here
# 3.12), with what that Python lacks of:
#   for name in ai-dynamo==1.4.2 ai-dynamo-runtime==1.4.2 pydantic pydantic-core annotated-types typing-inspection msgspec \
#     pyzmq 'kubernetes<33' python-dateutil robotframework==7.5 robotframework-pythonlibcore \
#     robotframework-assertion-engine httptools uvloop; do
#     python3 -m pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
#       --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d WHEELS "$name"; done
set -eu
results=$(realpath -m "${1:-results}")
shift $(($# < 1 ? $# : 1))
wheels=${WHEELS:+$(realpath "$WHEELS")}
cd "$(dirname "$0")/../.."
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if [ -n "$wheels" ]; then
    python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
fi
export PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}" DYNAMO_FAULT_STATE="$site/state"
gpus=$(python3 -c 'import torch; print(torch.cuda.device_count())')
if [ "$gpus" = 1 ]; then export CUDA_VISIBLE_DEVICES=0,0; fi # two workers share it
python3 -m robot --outputdir "$results" --xunit xunit.xml "$@" suites/hardware/cuda_faults.robot
