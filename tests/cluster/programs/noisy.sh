#!/bin/sh
# Reports a number with noise that depends on it and on the seed. Arguments: the number, the seed.
score=$(awk "BEGIN {srand($2 * 7919 + $1 * 104729); for (i = 0; i < 12; i++) s += rand(); printf \"%.6f\", $1 + s - 6}")
echo "{\"epoch\": 1, \"test/score\": $score}" >> "$SWEEPS_RECORDS"
