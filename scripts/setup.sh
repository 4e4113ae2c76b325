#!/usr/bin/env bash
# Brings a Debian machine that has Node >= 20 and npm to where keyagent builds and its tests run: Debian packages,
# npm packages, and proof that the native ones load. Touches nothing that is there already; safe to repeat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The servers are for the tests: none of them is started, now or when the machine starts (install_packages).
services=(apache2 haproxy nginx postgresql)
packages=(
  gcc g++ make python3 pkg-config meson ninja-build                # compilers and build tools
  libmd-dev libssl-dev libsecret-1-dev libcmocka-dev               # libraries built against
  softhsm2 opensc openssl p11-kit gnome-keyring dbus-daemon systemd   # real parts that the tests drive
  apache2 apache2-utils haproxy nginx postgresql stunnel4 curl     # servers that use keys, and clients
  systemd-container                                                # a machine that boots with our units
  clevis jose tang-common                                          # tang itself would open port 80 for its server
  valgrind clang-format mandoc                                     # checks
  libtpm2-pkcs11-1 swtpm tpm2-abrmd libtss2-tcti-tabrmd0           # a second kind of token
)

fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

missing_packages() {
  local name
  for name in "${packages[@]}"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || printf '%s\n' "$name"
  done
}

install_packages() {
  local missing service
  as_root=()
  command -v dpkg-query >/dev/null || fail "this is not Debian; install the equivalents of: ${packages[*]}"
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  if (($(id -u))); then
    sudo -n true 2>/dev/null || fail "as root, run: apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo -n)
  fi
  printf 'setup: installing %s\n' "${missing[*]}"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update ||
    printf 'setup: apt-get update failed; trying the package lists that are here\n' >&2
  forbid_services
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install: ${missing[*]}"
  for service in "${services[@]}"; do
    [[ " ${missing[*]} " != *" $service "* ]] || "${as_root[@]}" systemctl --quiet disable "$service" ||
      printf 'setup: %s will start with the machine\n' "$service" >&2
  done
}

# Packages ask this file whether they may start what they bring (invoke-rc.d(8)). One that is there stays as it is.
forbid_services() {
  policy=/usr/sbin/policy-rc.d
  [[ ! -e $policy ]] || return 0
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
  "${as_root[@]}" chmod 755 $policy
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
}

# Unpacked, not installed: installed, this engine takes every pkcs11: URI that Apache is given, on the whole machine.
unpack_engine() {
  local folder=build/debian
  [[ ! -e $folder/usr ]] || return 0
  mkdir -p $folder
  (cd $folder && apt-get -qq download libengine-pkcs11-openssl && dpkg -x libengine-pkcs11-openssl_*.deb .) 2>/dev/null ||
    fail 'apt-get could not download libengine-pkcs11-openssl'
}

# node-gyp takes Node's headers from here instead of downloading them: from beside Node, or a system-wide Node's, which
# do as well, because the packages keep to the stable Node-API. From version 11 on it reads the second variable, and
# npm warns of the first.
use_node_headers() {
  local prefix
  for prefix in "$(node -p 'require("node:path").resolve(process.execPath, "../..")')" /usr; do
    [[ -f $prefix/include/node/node_api.h ]] || continue
    if (($(npm --version | cut -d. -f1) < 11)); then export npm_config_nodedir=$prefix; fi
    export npm_package_config_node_gyp_nodedir=$prefix
    return
  done
}

# The stamp is written last, so that an interrupted npm ci counts as none.
install_npm_packages() {
  local stamp=node_modules/.keyagent-setup wanted
  wanted=$(sha256sum package-lock.json)
  if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then return 0; fi
  printf 'setup: npm ci\n'
  npm ci --no-audit --no-fund || fail 'npm ci failed; its last lines say why'
  printf '%s\n' "$wanted" >"$stamp"
}

# npm skips install scripts that it was not allowed to run, and says so only when the package is first used.
load_native_packages() {
  local name
  for name in pkcs11js keytar msgpackr; do
    node -e 'require(process.argv[1])' "$name" 2>/dev/null && continue
    printf 'setup: rebuilding %s\n' "$name"
    npm rebuild "$name" >/dev/null || fail "npm rebuild $name failed"
    node -e 'require(process.argv[1])' "$name" || fail "$name does not load, see above"
  done
}

command -v node >/dev/null || fail 'Node is missing; install Node 20 or newer'
node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
  fail "Node $(node --version) is too old; install Node 20 or newer"
install_packages
unpack_engine
use_node_headers
install_npm_packages
load_native_packages
