# What the scripts beside this file share: where things are, what is missing and how it gets here.
# Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RUST_WANTED=1.89
# Where cargo puts what it makes.
TARGET=$(cd "$ROOT" && realpath -m "${CARGO_TARGET_DIR:-target}")

# Progress goes to stderr: stdout is for results.
say() { printf '\n==> %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
die() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}

# Shows what the head of the script says, where that is asked for.
usage_if_asked() {
    case " $* " in
    *' --help '* | *' -h '*)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    esac
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: $*"
    fi
}

has_package() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

# Installs those of the named Debian packages that are not there, and says so before.
need_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null; then
        note "this is no Debian; taken to be here is what stands for: $*"
        return 0
    fi
    for package in "$@"; do
        has_package "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing Debian packages: ${missing[*]}"
    if [ -z "${APT_UPDATED:-}" ]; then
        as_root apt-get update -q >&2
        APT_UPDATED=1
    fi
    # RUNLEVEL=1: a new apache2 is not started on port 80; nobody asked for that.
    as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >&2
}

# True where version $1 is $2 or later.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rust_version() { rustc --version 2>/dev/null | cut -d ' ' -f 2; }

# Finds cargo and a rustc that is new enough, or installs both. sudo drops ~/.cargo/bin from PATH, so the
# toolchain of the person who called sudo is looked for too. Debian 12's own rustc (1.63) is too old.
need_rust() {
    local home
    for home in "$HOME" "$(getent passwd "${SUDO_USER:-root}" | cut -d : -f 6)"; do
        at_least "$(rust_version || true)" "$RUST_WANTED" && command -v cargo >/dev/null && return 0
        [ -x "$home/.cargo/bin/cargo" ] || continue
        export PATH="$home/.cargo/bin:$PATH"
        [ ! -d "$home/.rustup" ] || export RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
    done
    at_least "$(rust_version || true)" "$RUST_WANTED" && command -v cargo >/dev/null && return 0
    command -v rustup >/dev/null &&
        die "rustc $(rust_version) is older than $RUST_WANTED: run 'rustup update stable'"
    need_packages curl ca-certificates
    say "Installing Rust (stable, minimal) with rustup from https://rustup.rs into $HOME/.cargo"
    note "Debian 12's own rustc is 1.63; $RUST_WANTED or later is needed."
    curl --proto '=https' --tlsv1.2 -fsS https://sh.rustup.rs |
        sh -s -- -y --profile minimal --component rustfmt,clippy --no-modify-path >&2
    export PATH="$HOME/.cargo/bin:$PATH"
    at_least "$(rust_version)" "$RUST_WANTED" || die "rustc $(rust_version) is still older than $RUST_WANTED"
}

need_build_tools() {
    need_packages gcc libc6-dev apache2-dev
    # bindgen loads libclang and needs clang's own headers; any version will do.
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null &&
        compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null ||
        need_packages libclang-dev
    need_rust
}

# httpd's tools have other names on Debian than elsewhere.
first_of() {
    local name
    for name in "$@"; do
        PATH="$PATH:/usr/sbin:/usr/local/apache2/bin" command -v "$name" && return 0
    done
    die "none of these is installed: $*"
}
find_apxs() { first_of apxs apxs2; }
find_httpd() { first_of apache2 httpd; }
