#!/usr/bin/env bash
# Everything this book is made of, from one command.
#
#   ./run_all.sh [options]        set up if needed (requirements.lock), run the pages, build the book
#     --profile smoke|quick|paper   seconds a page | the whole book in 5 to 10 minutes (default) | the papers' own scale
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
# POSENC_PYTHON=/path/to/python uses the packages installed in that Python's environment and installs nothing.
# POSENC_DEVICE=cpu computes on the CPU even if there is a GPU.
#
# Your own settings of Python, IPython, Jupyter, matplotlib and pytest have no part in this, nor have PYTHONPATH and
# packages in ~/.local.  Of pip's and uv's, only those for downloads have: an index, certificates, a proxy.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"  # started as: sh run_all.sh
set -euo pipefail
unset CDPATH
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do  # a link to this file
    link=$(readlink "$script")
    case $link in /*) script=$link ;; *) script=$(dirname "$script")/$link ;; esac
done
root=$(cd "$(dirname "$script")" && pwd -P)

for name in ${!PYTHON*} ${!PYTEST_*} ${!IPYTHON*} ${!JUPYTER*} ${!MPL*} MATPLOTLIBRC; do
    case $name in
        PYTHONDONTWRITEBYTECODE | PYTHONPYCACHEPREFIX | PYTHONUNBUFFERED | JUPYTER_ALLOW_INSECURE_WRITES) ;;
        *) unset "$name" ;;
    esac
done
export PYTHONUTF8=1 PYTHONNOUSERSITE=1
[ -w "${TMPDIR:-/tmp}" ] || unset TMPDIR
# Threads that wait spin for microseconds, then sleep: endless spinning makes a busy machine many times slower.
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-5000}

everything="book parquet cluster test"  # the extras of pyproject.toml

say() { echo "run_all.sh: $*" >&2; }
fail() { local code=$1; shift; say "$*"; exit "$code"; }

find_python() {  # the Python that makes .venv, or is used in its place
    local candidates=(python3 python3.14 python3.13 python3.12 python3.11) candidate
    case ${POSENC_PYTHON:-} in [!/]*/*) POSENC_PYTHON=$PWD/$POSENC_PYTHON ;; esac
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

own_settings() {  # in place of the reader's; $1: the output folder, for a checkout that cannot be written to
    local own=$root/build/own
    if ! { mkdir -p "$own" && [ -w "$own" ]; } 2>/dev/null; then
        own=${1:-$(mktemp -d)}/build/own
        mkdir -p "$own" 2>/dev/null || true  # make.py says in which folder nothing can be written
    fi
    export IPYTHONDIR=$own/ipython JUPYTER_CONFIG_DIR=$own/jupyter MPLCONFIGDIR=$own/matplotlib
    export JUPYTER_PREFER_ENV_PATH=1  # for kernels named python3, before those in ~/.local
    if [ ! -w "${HOME:-}" ]; then
        export HOME=${HOME:-$own} JUPYTER_DATA_DIR=$own/jupyter/data JUPYTER_RUNTIME_DIR=$own/jupyter/runtime
        [ -d "${XDG_CACHE_HOME:-$HOME/.cache}" ] || export XDG_CACHE_HOME=$own/cache
    fi
}

drop_others() {
    local name
    for name in ${!PIP_*} ${!UV_*}; do
        case ${name#*_} in
            *INDEX* | FIND_LINKS | KEYRING* | *HOST* | *CERT | *PROXY* | *TLS* | CONFIG_FILE) ;;
            *CACHE* | *TIMEOUT | RETRIES | OFFLINE) ;;
            *) unset "$name" ;;
        esac
    done
}

for_downloads() {  # leaves those of the reader's settings of pip and uv that say where packages come from
    local name value
    drop_others
    while IFS="=" read -r name value; do  # global.index-url='https://...'
        case $name in global.* | install.*) name=PIP_$(echo "${name#*.}" | tr a-z- A-Z_) ;; *) continue ;; esac
        value=${value#\'}
        value=${value%\'}
        [ -n "${!name:-}" ] || export "$name=${value//\\n/ }"
    done <<<"$("$root/.venv/bin/python" -m pip config list 2>/dev/null | sort -r)"  # install. before global.
    drop_others
    unset UV_CONFIG_FILE
    export PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CONFIG=1
    if [ -n "${PIP_INDEX_URL:-}" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        export UV_DEFAULT_INDEX=$PIP_INDEX_URL
    fi
}

make_venv() {  # .venv, and `installer`: the uv in it, or pip where uv cannot be had
    if ! "$root/.venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "making .venv with $("$python" --version)"
        "$python" -m venv --clear "$root/.venv" >&2 ||
            fail 1 "$python cannot make a virtual environment; install its venv module (Debian: apt-get install python3-venv)."
    fi
    for_downloads
    # byte code now, for all: where Python may not write any (PYTHONDONTWRITEBYTECODE), each page would compile torch anew
    export VIRTUAL_ENV=$root/.venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
    installer=("$root/.venv/bin/uv" pip)
    if [ ! -x "$root/.venv/bin/uv" ] && ! "$root/.venv/bin/python" -m pip install --quiet uv; then
        say "uv could not be installed, so pip does its work: minutes instead of seconds."
        installer=("$root/.venv/bin/python" -m pip)
    fi
}

installed() {  # whether the stamp says that .venv has this lock and this project
    local done
    [ -x "$root/.venv/bin/python" ] && [ -f "$stamp" ] && done=$(cat "$stamp") &&
        { [ "$done" = "$locks requirements-all.lock" ] || [ "$done" = "$locks $lock" ]; }
}

install() {  # the lock that has the extras in its arguments, and the project
    make_venv
    say "installing $lock into .venv (some 6 GB, mostly torch)"
    "${installer[@]}" install --quiet --require-hashes -r "$root/$lock" &&
        "${installer[@]}" install --quiet --no-deps --no-build-isolation -e "$root" ||
        fail 1 "$lock could not be installed; the reason stands above. Start again once it is mended."
    "$root/.venv/bin/python" "$root/book/check_environment.py" "$@" || exit 1
    echo "$locks $lock" >"$stamp"
}

set_up() {  # sets `python` to the one that runs everything; its arguments are the extras needed
    local stamp=$root/.venv/posenc-stamp lock=requirements.lock locks extra
    case $root in *:*) fail 1 "Python finds no packages in $root, for the colon in that path; move the project." ;; esac
    if [ -n "${POSENC_PYTHON:-}" ]; then
        export PYTHONPATH=$root
        "$python" "$root/book/check_environment.py" "$@" || exit 1
    else
        for extra in "$@"; do [ "$extra" = book ] || lock=requirements-all.lock; done
        locks=$({ cat "$root"/requirements*.lock "$root/pyproject.toml"; echo "$root"; } |
            "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
        if ! installed; then
            [ -w "$root" ] || fail 1 "cannot write to $root to make .venv; copy the project, or set POSENC_PYTHON."
            (
                command -v flock >/dev/null && { flock -n 9 || { say "waiting for another set-up"; flock 9; }; }
                installed || install "$@"
            ) 9>"$root/.venv.lock" || exit 1
        fi
        python=$root/.venv/bin/python
    fi
    case ${POSENC_DATA:-} in "" | [/~]*) ;; *) export POSENC_DATA=$PWD/$POSENC_DATA ;; esac  # pages run in notebooks/
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
    exec "$python" -m pytest -c pyproject.toml "$@"
}

bench() {
    local names="" file
    for file in "$root"/bench/*.py; do [ -f "$file" ] && names+=" $(basename "$file" .py)"; done
    [ $# -gt 0 ] || { echo "bench/ has:${names:- nothing yet}"; exit; }
    [ -f "$root/bench/$1.py" ] || fail 2 "there is no bench/$1.py; there are:${names:- none}."
    find_python; own_settings; set_up $everything
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
         parsed=$("$python" "$root/book/arguments.py" "$@")  # which also reports mistakes, before minutes of set-up
         { read -r extras; read -r out; } <<<"$parsed"
         own_settings "$out"; set_up $extras
         exec "$python" "$root/book/make.py" "$@" ;;
    test) find_python; own_settings; set_up $everything; run_tests "$@" ;;
    lab) find_python; own_settings; set_up book
         [ ! -w "$root/notebooks" ] || (cd "$root" && "$python" -m jupytext --quiet --sync notebooks/*.py)
         exec "$python" -m jupyterlab --ServerApp.root_dir="$root" --LabApp.default_url=/lab/tree/notebooks "$@" ;;
    bench) bench "$@" ;;
    clean) [ $# = 0 ] || [ "$*" = --all ] || fail 2 "clean takes --all or nothing, not: $*."
           rm -rf "$root"/{build,book/_build} "$root"/{records,figures}/{smoke,quick}
           if [ $# = 1 ]; then rm -rf "$root"/{.venv,.venv.lock,posenc_book.egg-info}; fi ;;
    lock) find_python; unset POSENC_PYTHON; own_settings; make_venv; cd "$root"
          [ "${installer[0]}" = "$root/.venv/bin/uv" ] || fail 1 "lock needs uv, which could not be installed."
          compile() { "${installer[@]}" compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
              --no-emit-index-url --custom-compile-command "./run_all.sh lock" "$@"; }
          compile --all-extras -o requirements-all.lock "$@"
          compile --extra book --constraint requirements-all.lock -o requirements.lock ;;
    help) sed -n '2,${/^#/!q;s/^# \{0,1\}//;p;}' "$script" ;;
    *) fail 2 "there is no command '$command'; there are run (the default), test, lab, bench, clean, lock and help." ;;
esac
