#!/usr/bin/env bash
# The book's runs on a real Slurm: a cluster of one node, made of Debian's packages; all but those is gone at the end.
#
#   bench/slurm.sh >bench/slurm.txt 2>&1      root on Debian 12, with or without systemd; some 10 minutes on two cores
#
# What it prints is a transcript.  `..` is a temporary folder and `.` a copy of the checkout in it, so that nobody's
# cluster.yml and records are touched.  POSENC_PYTHON is what run_all.sh takes it for (else .venv's Python).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export POSENC_PYTHON=${POSENC_PYTHON:-$root/.venv/bin/python} DEBIAN_FRONTEND=noninteractive
host=$(hostname -s) tmp=$(mktemp -d /tmp/slurm.XXXXXX) started=() run=
export SLURM_CONF=$tmp/slurm.conf   # no other Slurm is spoken to
unset POSENC_CLUSTER POSENC_DATA OMP_NUM_THREADS MKL_NUM_THREADS
exec > >(trap '' INT TERM; exec sed -uE "s#$tmp/book#.#g; s#$tmp#..#g; s#$POSENC_PYTHON#python#g; s#$root#ROOT#g
    s#\\b$host\\b#node#g; s#(tcp|tls)://[0-9.]+:[0-9]+#\\1://node:PORT#g") 2>&1
printer=$!
finish() {
    local code=$? pid
    trap - EXIT; set +e
    [ -z "$run" ] || kill -KILL -- "-$run" 2>/dev/null
    [ "$code" = 0 ] || tail -n 15 "$tmp"/*.log
    if squeue -h >/dev/null 2>&1; then squeue -h -o %i | xargs -r scancel; await 20 no_jobs; fi
    for pid in "${started[@]}"; do kill "$pid"; wait "$pid"; done 2>/dev/null
    rm -rf "$tmp"
    say "$(date -u +%FT%TZ) ended with exit code $code; all that was started is stopped"
    exec >&- 2>&-; wait "$printer"; exit "$code"
}
trap finish EXIT; trap 'exit 130' INT TERM
say() { printf '\n# %s\n' "$*"; }
shown() { printf '\n$ %s\n' "$*"; eval "$*"; }
await() {  # SECONDS CONDITION
    local end=$((SECONDS + $1))
    until eval "$2"; do
        [ "$SECONDS" -lt "$end" ] || { echo "after $1 s this was still not so: $2"; return 1; }; sleep 0.3
    done
}
daemon() { "$@" >"$tmp/${1##*/}.log" 2>&1 & started=($! "${started[@]}"); }
no_jobs() { [ -z "$(squeue -h)" ]; }
two_jobs() { [ "$(squeue -h -t running | wc -l)" = 2 ]; }
records() { cat "../$1/records/smoke/gapnet_vs_permutenet.jsonl" 2>/dev/null | wc -l; }
begin() { printf '\n$ %s &\n' "$*"; setsid env --default-signal=INT "$@" & run=$!; }   # as from a terminal
ended() { local code=0; wait "$run" || code=$?; run=; echo "exit code $code"; [ "$code" = "$1" ]; }

say "$(date -u +%FT%TZ), $(. /etc/os-release; echo "$PRETTY_NAME"), $(getconf _NPROCESSORS_ONLN) cores"
shown "apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >$tmp/apt.log 2>&1"
shown "dpkg-query -W slurmctld slurmd slurm-client munge"
shown "$POSENC_PYTHON --version; $POSENC_PYTHON -m pip list 2>&1 | grep -E '^(torch|dask|dask-jobqueue|distributed) '"

say "One node; linuxproc and task/none, as a container may have neither systemd nor cgroups to write to"
chmod 755 "$tmp"; mkdir "$tmp"/{state,spool,book}   # munge wants to be found by all
mungekey --create --keyfile="$tmp/munge.key"
hardware=$(slurmd -C | sed -n 's/^NodeName=[^ ]* //p')
printf '%s\n' ClusterName=book "SlurmctldHost=$host(127.0.0.1)" SlurmctldPort=16817 SlurmdPort=16818 SlurmUser=root \
    AuthType=auth/munge "AuthInfo=socket=$tmp/munge.socket" "StateSaveLocation=$tmp/state" "SlurmdSpoolDir=$tmp/spool" \
    "SlurmctldPidFile=$tmp/slurmctld.pid" "SlurmdPidFile=$tmp/slurmd.pid" ProctrackType=proctrack/linuxproc \
    TaskPlugin=task/none JobAcctGatherType=jobacct_gather/none MpiDefault=none SelectType=select/cons_tres KillWait=5 \
    SelectTypeParameters=CR_Core ReturnToService=2 MinJobAge=7200 \
    "NodeName=node NodeHostname=$host NodeAddr=127.0.0.1 $hardware" \
    "PartitionName=book Nodes=node Default=YES MaxTime=INFINITE" >"$SLURM_CONF"
daemon munged --foreground --socket="$tmp/munge.socket" --key-file="$tmp/munge.key" \
    --pid-file="$tmp/munged.pid" --log-file="$tmp/munge.log" --seed-file="$tmp/munge.seed"
await 20 '[ -S "$tmp/munge.socket" ]'
daemon slurmctld -D; daemon slurmd -D -N node
await 60 '[ "$(sinfo -h -o %T 2>/dev/null)" = idle ]'
shown sinfo; shown srun hostname

cd "$root"; git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -pt "$tmp/book"
cd "$tmp/book"
printf '%s\n' "jobs: 2" "slurm: {cores: 1, memory: 4GB, walltime: '00:30:00', interface: lo}" >cluster.yml
shown cat cluster.yml
page=(./run_all.sh --profile smoke --only 03 -p seeds 1 -p steps 100)
jobs="squeue --states=all --sort=i --format='%i %j %T %M %N'"
told() { shown "grep -hoE 'table1: [0-9][^\"\\\\]*' ../$1/build/notebooks/03_*.ipynb"; }   # by the page, of its runs

say "A page whose runs are tasks of two jobs"
begin "${page[@]}" --cluster slurm --out ../two
await 120 two_jobs; shown squeue; ended 0; told two
await 30 no_jobs; shown "$jobs"
shown "grep -hE 'Start worker|Threads|CANCELLED' build/slurm/*.err | sed 's/^.* - INFO - *//' | sort"

say "The same again starts nothing; run anew with its records on file, the page has nothing to send"
shown "${page[*]} --cluster slurm --out ../two"; shown "$jobs"
shown "rm -r ../two/build/notebooks; ${page[*]} --cluster slurm --out ../two"; told two

say "A job is taken away in the midst: another takes its place, and its run is done again"
begin "${page[@]}" --cluster slurm --out ../robbed
await 180 '[ "$(records robbed)" -ge 3 ]'; shown squeue
shown "scancel $(squeue -h -o %i -t running | sort -n | head -n 1)"; echo "$(records robbed) records by then"
await 60 two_jobs; shown squeue; ended 0; told robbed

say "Ctrl-C in the midst leaves no job; the same again goes on from there"
begin "${page[@]}" --cluster slurm --out ../stopped
await 180 '[ "$(records stopped)" -ge 3 ]'; shown squeue
before=$SECONDS; shown "kill -INT -- -$run"; ended 130; await 60 no_jobs; shown squeue
echo "no job after $((SECONDS - before)) s; $(records stopped) records"
shown "${page[*]} --cluster slurm --out ../stopped"; told stopped

say "A job that Slurm refuses"
shown "sed -i 's/cores/queue: nowhere, cores/' cluster.yml; cat cluster.yml"
begin "${page[@]}" --cluster slurm --out ../refused; ended 1

say "Without a cluster, on one thread as each job has it; then all four beside each other"
shown "OMP_NUM_THREADS=1 ${page[*]} --out ../alone"
"$POSENC_PYTHON" - two robbed stopped alone <<'END'
import json, sys
from pathlib import Path
sides = []
for out in sys.argv[1:]:
    lines = [json.loads(line) for line in Path("..", out, "records/smoke/gapnet_vs_permutenet.jsonl").open()]
    sides.append({(r["digest"], r["seed"]): json.dumps([r["config"], r["results"]], sort_keys=True) for r in lines})
    print(f"{out}: {len(lines)} records of {len(sides[-1])} runs, threads {({r['source']['threads'] for r in lines})}")
equal = all(sides[0] == side != {} for side in sides)
sys.exit(print("configurations and results are", "equal to the last digit" if equal else "NOT EQUAL") or not equal)
END
