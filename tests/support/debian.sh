# shellcheck shell=sh
# Sourced by scripts that build for another system: packages of Debian, and lists of packages of their
# own, asked for where the system's packages come from, without a change to the system's.

install_packages() { # names
    export DEBIAN_FRONTEND=noninteractive
    if [ "$(dpkg-query -W -f='${Status}\n' "$@" 2>/dev/null |
        grep -c '^install ok installed$')" != $# ]; then
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    fi
}

# Later calls of own_apt work in this folder; sed makes its lists of the system's.
own_apt_begin() { # folder, sed script
    own_folder=$1
    mkdir -p "$own_folder/parts" "$own_folder/lists/partial" "$own_folder/cache/archives/partial"
    for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
        [ -f "$list" ] || continue
        sed "$2" "$list" >"$own_folder/parts/debian.${list##*.}"
    done
}

own_apt() { # arguments of apt-get
    apt-get -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$own_folder/parts" \
        -o Dir::State::Lists="$own_folder/lists" -o APT::Sandbox::User=root "$@"
}

# The archives that packages are made from, in the release's own version: security's are not everywhere.
fetch_sources() { # folder, names
    own_apt_begin "$1" 's/^Types: deb$/Types: deb-src/; s/^deb /deb-src /'
    shift
    own_apt update
    (
        # shellcheck source=/dev/null # the system's
        . /etc/os-release
        cd "$own_folder" && own_apt source --download-only -t "$VERSION_CODENAME" "$@"
    )
}
