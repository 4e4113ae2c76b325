#!/bin/sh
# Holds the built library against its header: the functions that are declared KA_API are exported, nothing else is; it
# needs libmd and libc only, and has its soname. Usage: check_exports.sh LIBRARY HEADER
set -eu
library=$1
header=$2

exported=$(nm -D --defined-only "$library" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort)
others=$(nm -D --defined-only "$library" | awk '$2 != "T" && $2 != "A" { print $3 }')
declared=$(tr '\n' ' ' <"$header" | grep -oE 'KA_API [^;]*\(' | grep -oE 'ka_[a-z0-9_]+ *\(' | tr -d ' (' | sort)
needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^lib(asan|ubsan|tsan)\.so' | sort | tr '\n' ' ')
soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')

fail() {
    echo "$library: $1" >&2
    exit 1
}
[ "$(echo "$declared" | wc -l)" -ge 20 ] || fail "found too few functions in $header: $declared"
[ "$exported" = "$declared" ] || fail "exports and header differ: $(printf '%s\n%s\n' "$exported" "$declared" | sort | uniq -u)"
[ -z "$others" ] || fail "exports more than functions: $others"
[ "$needed" = 'libc.so.6 libmd.so.0 ' ] || fail "needs $needed"
[ "$soname" = libkeyagent.so.1 ] || fail "is called $soname"
