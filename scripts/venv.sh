#!/bin/sh
# Makes the virtual environment where it is missing and installs the project into it, once per change of
# pyproject.toml or constraints.txt. Called by the Makefile.
#
#   VENV=.venv PYTHON=python3.12 sh scripts/venv.sh [EXTRA]
#
# VENV is the folder, PYTHON the interpreter to make it with (default: the first fitting one on PATH), EXTRA one of the
# extras in pyproject.toml (default: all). Stamps inside VENV say what is installed; a folder under way holds
# `.unfinished`.
set -eu
unset CDPATH
cd -- "$(dirname -- "$0")/.."
venv=${VENV:-.venv}
extra=${1:-all}
stamp=$venv/.installed-$extra
wanted=$(sed -n 's/^requires-python = "\([^"]*\)".*/\1/p' pyproject.toml)

fail() {
    printf 'ngpd-fl: %s\n' "$1" >&2
    exit 1
}

# Prints an interpreter's version and whether pyproject.toml allows it, as "3.12.1 True"; fails where it does not run.
# (Old interpreters get this far, so it keeps to what they all read.)
examine() {
    "$1" -c '
import sys
version, fits = sys.version_info[:3], True
for clause in sys.argv[1].split(","):
    sign, bound = clause.strip("0123456789. "), tuple(int(part) for part in clause.strip("<>=! ").split("."))
    head = version[:len(bound)]
    fits = fits and {">=": head >= bound, "<": head < bound, "!=": head != bound}[sign]
sys.stdout.write("%d.%d.%d %s" % (version + (fits,)))
' "$wanted" 2>/dev/null
}

# Sets `python` to the first interpreter that fits and can make an environment, or says in one line what is missing.
choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        case $PYTHON in "~/"*) PYTHON=$HOME/${PYTHON#??} ;; esac
        set -- "$PYTHON"
    else
        set -- python3 python3.13 python3.12 python3.11 python3.14 python
    fi
    unfit='' bare='' package=''
    for python; do
        answer=$(examine "$python") || continue
        version=${answer% *}
        if [ "${answer#* }" = False ]; then
            unfit=${unfit:-$python is $version}
        elif "$python" -I -c 'import ensurepip, venv; ensurepip.version()' >/dev/null 2>&1; then
            return
        else
            bare=${bare:-$python ($version)}
            package=${package:-python${version%.*}-venv}
        fi
    done
    other='name another Python with make PYTHON=/path/to/python3'
    [ -z "$bare" ] || fail "$bare lacks the venv module: install it (Debian, Ubuntu: apt install $package), or $other"
    [ -z "$unfit" ] || fail "Python $wanted is needed, but $unfit: install one that fits, or $other"
    fail "Python $wanted is needed, but none of these runs: $*; install it, or $other"
}

make_venv() {
    choose_python
    if [ -e "$venv/.unfinished" ] || [ -e "$venv/pyvenv.cfg" ]; then
        rm -rf "$venv"
    elif [ -e "$venv" ] && [ -n "$(ls -A "$venv" 2>&1)" ]; then
        fail "$venv is there, but is no virtual environment: remove it, or name another folder with make VENV=folder"
    fi
    echo "Making $venv with $python ($version)"
    mkdir -p "$venv"
    : >"$venv/.unfinished"
    if ! said=$("$python" -m venv "$venv" 2>&1); then
        rm -rf "$venv"
        fail "$python could not make $venv: $(printf '%s\n' "$said" | tail -n 1)"
    fi
    rm "$venv/.unfinished"
}

# Leaves a working environment in $venv: keeps one made by hand, makes one that is missing, half-made or broken.
ensure_venv() {
    if [ -e "$venv/.unfinished" ] || ! answer=$(examine "$venv/bin/python"); then
        make_venv
    elif [ "${answer#* }" = False ]; then
        fail "Python $wanted is needed, but $venv holds ${answer% *}: remove it, or name another folder with make VENV=folder"
    elif ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$venv/bin/python" -m ensurepip >/dev/null 2>&1 || fail "$venv has no pip: install it there, or remove the folder"
    fi
}

install() {
    quiet=--quiet
    [ ! -t 1 ] || quiet='' # a person at a terminal sees the progress
    echo "Installing ngpd-fl[$extra] into $venv (some minutes the first time: about 6 GB with the GPU libraries)"
    "$venv/bin/python" -m pip install $quiet --disable-pip-version-check --no-input \
        --constraint constraints.txt --editable ".[$extra]" ||
        fail "the packages were not installed, for the reason above; the next make tries again"
}

fingerprint=$({ pwd -P && cat pyproject.toml constraints.txt; } | cksum)
if [ -x "$venv/bin/python" ] && [ ! -e "$venv/.unfinished" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$fingerprint" ]; then
    exit 0
fi
ensure_venv
rm -f "$stamp"
install
printf '%s\n' "$fingerprint" | tee "$venv/.installed-all" >"$stamp" # `test` brings all along
