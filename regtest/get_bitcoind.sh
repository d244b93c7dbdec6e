#!/usr/bin/env bash
# A bitcoind without installing anything: Debian's bitcoin-knots and the libraries that it needs,
# libc included, unpacked into one folder. Usage: get_bitcoind.sh [FOLDER], default .cache/bitcoind
#
# Downloads with the apt sources of this machine and Debian's keyring on it, so every byte is
# checked against Debian's signatures. Writes nothing outside FOLDER, runs no maintainer script,
# needs no root; the system's apt and dpkg state stay as they are. A second run finds the first.
#   DEBIAN_MIRROR   use this mirror instead of the one in the apt sources
#   DEBIAN_SUITES   where to look, in this order (default: "sid forky"; older ones have no package)
set -euo pipefail

die() { printf 'get_bitcoind.sh: %s\n' "$*" >&2; exit 1; }

prefix=$(realpath -m "${1:-.cache/bitcoind}")
package=bitcoin-knots
suites=${DEBIAN_SUITES:-sid forky}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
bitcoind=$prefix/bin/bitcoind

if [ -x "$bitcoind" ] && "$bitcoind" -version >/dev/null 2>&1; then
  echo "$bitcoind"
  exit 0
fi

for tool in apt-get dpkg-deb sha256sum; do
  command -v "$tool" >/dev/null ||
    die "needs $tool, so a Debian machine; elsewhere set BITCOIND=/path/to/bitcoind to your own"
done
[ -r "$keyring" ] ||
  die "no $keyring to check Debian's signatures with: apt-get install debian-archive-keyring"
mirror=${DEBIAN_MIRROR:-$(
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    grep -E '/debian/?$' | head -n 1 || true
)}
[ -n "$mirror" ] ||
  die "no Debian mirror among this machine's apt sources: set DEBIAN_MIRROR=http://.../debian," \
    "or BITCOIND=/path/to/bitcoind to your own"

apt=$prefix/.apt   # apt's own world for this run
root=$prefix/root
rm -rf "$apt" "$root" "$prefix/bin"
mkdir -p "$apt"/lists/partial "$apt"/cache/archives/partial "$apt"/etc/{apt.conf.d,preferences.d} "$root" "$prefix/bin"
trap 'rm -rf "$apt"' EXIT
: > "$apt/status"
cat > "$apt/apt.conf" <<CONF
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc "$apt/etc";
Dir::Etc::sourcelist "$apt/etc/sources.list";
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
Debug::NoLocking "true";
Acquire::Check-Valid-Until "false";  # a mirror may lag behind; signatures are still checked
Acquire::Languages "none";
Acquire::Retries "3";
CONF
export APT_CONFIG=$apt/apt.conf

download() { # the package and all that it depends on, from suite $1
  echo "deb [signed-by=$keyring] $mirror $1 main" > "$apt/etc/sources.list"
  apt-get -qq --error-on=any update &&
    apt-get -qq -y --download-only install "$package"
}

found=
for suite in $suites; do
  echo "get_bitcoind.sh: $package from $mirror $suite" >&2
  if download "$suite" >&2; then found=$suite; break; fi
done
[ -n "$found" ] ||
  die "$mirror gave no $package from: $suites. Is it reachable, and does it carry these suites?" \
    "Set DEBIAN_MIRROR or DEBIAN_SUITES, or BITCOIND=/path/to/bitcoind to your own"

for deb in "$apt"/cache/archives/*.deb; do
  case ${deb##*/} in
    systemd_*|debconf_*|libsystemd-shared_*|openssl-provider-*|libc-gconv-*) continue ;;
  esac
  dpkg-deb -x "$deb" "$root"
done
# What was unpacked, to be able to say later what a test ran against.
(cd "$apt/cache/archives" && echo "$mirror $found" && sha256sum -- *.deb) > "$prefix/packages.sha256"

loader=$(find "$root/usr/lib" -maxdepth 2 -name 'ld-linux*.so.*' | head -n 1)
[ -n "$loader" ] || die "no dynamic loader among the packages: report this with packages.sha256"
libraries=${loader%/*}
# The loader is called by hand: the system's own libc may be older. The process is then named
# after the loader, so find it by its pid.
for binary in "$root"/usr/bin/bitcoin*; do
  name=${binary##*/}
  cat > "$prefix/bin/$name" <<WRAPPER
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")/..
exec "\$here/${loader#"$prefix"/}" --library-path "\$here/${libraries#"$prefix"/}" \\
  --argv0 $name "\$here/${binary#"$prefix"/}" "\$@"
WRAPPER
  chmod +x "$prefix/bin/$name"
done
"$bitcoind" -version >/dev/null || die "$bitcoind does not run here: its own message is above"
echo "$bitcoind"
