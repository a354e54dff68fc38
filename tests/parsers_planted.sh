#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
# Proof that the tests of addresses and frames find what they are there for: each line below breaks one rule of a parser, in a copy, and
# its unit test or the replay of its fuzz corpus must fail.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
cd "$work"

compile() { # SOURCE OBJECT
        ${CC:-gcc} -std=gnu17 -O1 -g -w -fsanitize=address -D_GNU_SOURCE -I"$root/include" -I"$root/src" -I"$root/tests" \
                -I"$root/fuzz" -c "$1" -o "$2"
}
for source in src/core/address src/core/address_text src/core/key src/wire/frame src/base/error src/base/memory src/base/nudge src/base/signals src/base/utf8 tests/harness tests/storm \
        tests/unit/core_address_test tests/unit/wire_frame_test fuzz/address fuzz/options fuzz/frame fuzz/replay; do
        compile "$root/$source.c" "$(echo "$source" | tr / _).o"
done
address="src_core_address.o src_core_address_text.o src_core_key.o"
base="src_base_error.o src_base_memory.o src_base_nudge.o src_base_signals.o src_base_utf8.o"

link() { ${CC:-gcc} -fsanitize=address "$@" -pthread; }
# The programs that judge the parser of $1, linked from what the objects are by now; true when one of them fails.
judge() {
        case $1 in
        src/wire/frame.c)
                link tests_unit_wire_frame_test.o tests_harness.o tests_storm.o src_wire_frame.o $address $base fuzz_none.o -o unit
                link fuzz_frame.o fuzz_replay.o src_wire_frame.o -o replay_frame
                corpora=frame
                ;;
        *)
                link tests_unit_core_address_test.o tests_harness.o tests_storm.o $address $base -o unit
                link fuzz_address.o fuzz_replay.o $address $base -o replay_address
                link fuzz_options.o fuzz_replay.o $address $base -o replay_options
                corpora='address options'
                ;;
        esac
        found=
        ./unit >out 2>&1 || found="$found unit"
        for corpus in $corpora; do
                "./replay_$corpus" "$root/fuzz/corpus/$corpus" >out 2>&1 || found="$found corpus-$corpus"
        done
        [ "$found" ]
}
echo 'const void *const cfb_transports[] = {0};' >none.c
compile none.c fuzz_none.o

for source in src/core/address.c src/wire/frame.c; do
        if judge $source; then
                echo "$source fails as it is:$found"
                exit 1
        fi
done

missed=0
while IFS='	' read -r source what edit; do
        object=$(echo "${source%.c}" | tr / _).o
        sed "$edit" "$root/$source" >planted.c
        if cmp -s planted.c "$root/$source"; then
                echo "NO PLANT: $what ($source has changed: bring the line up to date)"
                missed=1
                continue
        fi
        cp "$object" whole.o
        compile planted.c "$object"
        if judge "$source"; then
                echo "found by$found: $what"
        else
                echo "MISSED: $what"
                missed=1
        fi
        cp whole.o "$object"
done <<'END'
src/wire/frame.c	a claim of one byte too many is taken	s/len > decoder->max - decoder->joined/len > decoder->max - decoder->joined + 1/
src/wire/frame.c	the claims of a message's fragments are not added up	s/len > decoder->max - decoder->joined/len > decoder->max/
src/wire/frame.c	fragments are not counted	s/decoder->n_fragments == FRAGMENTS_MAX/0/
src/wire/frame.c	one fragment too many	s/FRAGMENTS_MAX 65536/FRAGMENTS_MAX 65537/
src/wire/frame.c	fragments are joined one byte off	s/memmove(data + HEADER_LEN + decoder->joined/memmove(data + HEADER_LEN + decoder->joined + 1/
src/wire/frame.c	a header of three bytes is read	s/if (rest < HEADER_LEN)/if (rest < HEADER_LEN - 1)/
src/wire/frame.c	lines are scanned from the start again	s/data + decoder->scanned, '\\n', end - decoder->scanned/data, '\\n', end/
src/wire/frame.c	the next line begins in the middle	s/decoder->scanned = 0;/;/
src/wire/frame.c	a line of one byte too many is taken	s/(size_t)decoder->max + 1 : data_len/(size_t)decoder->max + 2 : data_len/
src/wire/frame.c	too many bytes are asked for	s/len - rest + (last ? 0 : HEADER_LEN)/len - rest + HEADER_LEN/
src/core/address.c	control characters may be given by code	s/high < 2 ||/0 \&\&/
src/core/address.c	half a percent code is read	s/if (low < 0)/if (high < 0)/
src/core/address.c	positions count from 0	s/return at - text + 1/return at - text/
src/core/address.c	keys may stand twice	s/if (places\[number\])/if (0)/
src/core/address.c	a mechanism is given keys it does not have	s/|| !(address->transport->keys >> number & 1)/|| 0/
src/core/address.c	options are not checked for keys the mechanism has	s/if (!(address->transport->keys >> number & 1))/if (0)/
src/core/address.c	newer fields of the options are not looked at	s/if (bytes\[i\])/if (0)/
src/core/address.c	an address of one byte too many is taken	s/CFB_ADDRESS_MAX + 1) > CFB_ADDRESS_MAX/CFB_ADDRESS_MAX + 2) > CFB_ADDRESS_MAX + 1/
src/core/address.c	the decoded rest is written without room for its end	s/cfb_allocate_untouched(rest_len + 1)/cfb_allocate_untouched(rest_len + !rest_len)/
src/base/utf8.c	overlong UTF-8 is taken	s/p\[0\] == 0xE0 \&\& p\[1\] < 0xA0/0/
src/base/utf8.c	control characters of the second range are shown	s/first == 0xC2/first == 0xC0/
src/core/address_text.c	a slash is not left as it is	s/"-._~\/:/"-._~:/
src/core/key.c	the unit is not looked at	s/strcmp(units->text, value) == 0/1/
src/core/key.c	sizes may overflow	s/__builtin_mul_overflow(number, units->factor, \&number)/((number *= units->factor), 0)/
src/core/key.c	numbers are not bounded from below	s/value < key->least ||/0 ||/
src/core/key.c	words are compared by their beginning	s/strcmp(word->text, value) == 0/strncmp(word->text, value, 2) == 0/
END
exit $missed
