#!/bin/sh
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"

"$bin/properties" >"$dir/fitting"
for scheme in mq sysv; do
        grep -q "^$scheme	" "$dir/fitting" || die "$scheme is not among: $(cat "$dir/fitting")"
done
for scheme in pipe tcp udp; do
        ! grep -q "^$scheme	" "$dir/fitting" || die "$scheme does not fit, but is among: $(cat "$dir/fitting")"
done
"$bin/properties" 'unix:///x?type=seqpacket' | grep -q 'boundaries	.*message' || die "no boundaries"
! "$bin/properties" nosuch://x 2>"$dir/why" || die "an unknown mechanism has properties"
grep -q nosuch "$dir/why" || die "does not say which mechanism it does not know"
