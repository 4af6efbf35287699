#!/usr/bin/env bash
# Everything this book is made of, from one command.
#
#   ./run_all.sh [options]        set up if needed (requirements.lock), run the pages, build the book
#     --profile smoke|quick|paper   seconds a page | the whole book in some 10 minutes (default) | the papers' own scale
#     --data DIR                    where data sets lie (else $POSENC_DATA, else data/)
#     --only 01,03                  these pages, by number or name; start page and appendix always run after them
#     -p NAME VALUE                 set a parameter on every chosen page that has it; may be repeated
#     --jobs N                      run up to N pages at a time (default: one a core, at most 4)
#     --cluster WHERE               runs go to worker processes: local:N here, tcp://HOST:PORT (a Dask scheduler), or
#                                   slurm (as cluster.yml says); else each page does its own
#     --minutes N                   stop after N minutes, at the next checkpoint; the same command continues from there
#     --out DIR                     put build/, records/, figures/ and book/_build/ there (default: here)
#   ./run_all.sh test [...]       the tests; arguments go to pytest
#   ./run_all.sh lab [...]        JupyterLab on the pages
#   ./run_all.sh bench [NAME]     run bench/NAME.py; without a name, list them
#   ./run_all.sh clean [--all]    remove what runs made (never records/paper, figures/paper); --all: .venv as well
#   ./run_all.sh lock [...]       write requirements*.lock anew from pyproject.toml; arguments go to uv
#   ./run_all.sh help
#
# POSENC_PYTHON=/path/to/python uses that Python's environment as it is and installs nothing.
# POSENC_DEVICE=cpu computes on the CPU even if there is a GPU.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Threads that wait spin for microseconds, then sleep: endless spinning makes a busy machine many times slower.
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-5000}

everything="book parquet cluster test"  # the extras of pyproject.toml

say() { echo "run_all.sh: $*" >&2; }
fail() { local code=$1; shift; say "$*"; exit "$code"; }

find_python() {  # the Python that makes .venv, or is used in its place
    local candidates=(python3 python3.14 python3.13 python3.12 python3.11) candidate
    [ -n "${POSENC_PYTHON:-}" ] && candidates=("$POSENC_PYTHON")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            return
        fi
    done
    [ -n "${POSENC_PYTHON:-}" ] && fail 1 "POSENC_PYTHON=$POSENC_PYTHON is not a Python 3.11 or newer; name one that is, or unset it."
    fail 1 "this needs Python 3.11 or newer, and there is none on PATH; install one, or point POSENC_PYTHON at one."
}

make_venv() {  # .venv, and `installer`: the uv in it, or pip where uv cannot be had
    if ! "$root/.venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "making .venv with $("$python" --version)"
        "$python" -m venv --clear "$root/.venv" >&2 ||
            fail 1 "$python cannot make a virtual environment; install its venv module (Debian: apt-get install python3-venv)."
    fi
    # byte code now, for all: where Python may not write any (PYTHONDONTWRITEBYTECODE), each page would compile torch anew
    export VIRTUAL_ENV=$root/.venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
    installer=("$root/.venv/bin/uv" pip)
    if [ ! -x "$root/.venv/bin/uv" ] && ! "$root/.venv/bin/python" -m pip install --quiet uv; then
        say "uv could not be installed, so pip does its work: minutes instead of seconds."
        installer=("$root/.venv/bin/python" -m pip)
    fi
}

install() {  # the lock that has the extras in its arguments, and the project, unless the stamp says that this was done
    local stamp=$root/.venv/posenc-stamp lock=requirements.lock locks extra done
    for extra in "$@"; do [ "$extra" = book ] || lock=requirements-all.lock; done
    locks=$({ cat "$root"/requirements*.lock "$root/pyproject.toml"; echo "$root"; } |
        "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
    if [ -x "$root/.venv/bin/python" ] && [ -f "$stamp" ]; then
        done=$(cat "$stamp")
        if [ "$done" = "$locks requirements-all.lock" ] || [ "$done" = "$locks $lock" ]; then return; fi
    fi
    make_venv
    say "installing $lock into .venv (some 6 GB, mostly torch)"
    "${installer[@]}" install --quiet --require-hashes -r "$root/$lock" &&
        "${installer[@]}" install --quiet --no-deps --no-build-isolation -e "$root" ||
        fail 1 "$lock could not be installed; the reason stands above. Start again once it is mended."
    "$root/.venv/bin/python" "$root/book/check_environment.py" "$@" || exit 1
    echo "$locks $lock" >"$stamp"
}

set_up() {  # sets `python` to the one that runs everything; its arguments are the extras needed
    if [ -n "${POSENC_PYTHON:-}" ]; then
        export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
        "$python" "$root/book/check_environment.py" "$@" || exit 1
    else
        (
            command -v flock >/dev/null && { flock -n 9 || { say "waiting for another set-up"; flock 9; }; }
            install "$@"
        ) 9>"$root/.venv.lock" || exit 1
        python=$root/.venv/bin/python
    fi
}

find_chromium() {  # for the test that reads the built book in a browser
    command -v chromium chromium-browser google-chrome | head -n 1
}

run_tests() {
    if [ -z "$(find_chromium)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing Debian's chromium for the browser test"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null || true
    fi
    [ -n "$(find_chromium)" ] || say "there is no chromium for the browser test; install chromium or google-chrome."
    cd "$root"
    exec "$python" -m pytest "$@"
}

bench() {
    local names="" file
    for file in "$root"/bench/*.py; do [ -f "$file" ] && names+=" $(basename "$file" .py)"; done
    [ $# -gt 0 ] || { echo "bench/ has:${names:- nothing yet}"; exit; }
    [ -f "$root/bench/$1.py" ] || fail 2 "there is no bench/$1.py; there are:${names:- none}."
    find_python; set_up $everything
    exec "$python" "$root/bench/$1.py" "${@:2}"
}

command=run
case ${1:-} in
    -h | --help) command=help ;;
    "" | -*) ;;
    *) command=$1; shift ;;
esac
case $command in
    run) find_python
         extras=$("$python" "$root/book/arguments.py" "$@")  # which also reports typing mistakes, before minutes of set-up
         set_up $extras
         exec "$python" "$root/book/make.py" "$@" ;;
    test) find_python; set_up $everything; run_tests "$@" ;;
    lab) find_python; set_up book
         (cd "$root" && "$python" -m jupytext --quiet --sync notebooks/*.py)
         exec "$python" -m jupyterlab --ServerApp.root_dir="$root" --LabApp.default_url=/lab/tree/notebooks "$@" ;;
    bench) bench "$@" ;;
    clean) [ $# = 0 ] || [ "$*" = --all ] || fail 2 "clean takes --all or nothing, not: $*."
           rm -rf "$root"/{build,book/_build} "$root"/{records,figures}/{smoke,quick}
           if [ $# = 1 ]; then rm -rf "$root"/{.venv,.venv.lock,posenc_book.egg-info}; fi ;;
    lock) find_python; unset POSENC_PYTHON; make_venv; cd "$root"
          [ "${installer[0]}" = "$root/.venv/bin/uv" ] || fail 1 "lock needs uv, which could not be installed."
          compile() { "${installer[@]}" compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
              --no-emit-index-url --custom-compile-command "./run_all.sh lock" "$@"; }
          compile --all-extras -o requirements-all.lock "$@"
          compile --extra book --constraint requirements-all.lock -o requirements.lock ;;
    help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" ;;
    *) fail 2 "there is no command '$command'; there are run (the default), test, lab, bench, clean, lock and help." ;;
esac
