#!/bin/sh
# Halves a number in every epoch, from its last one on. Arguments: start, number of epochs, folder.
number=$1 epoch=0 saved=$3/checkpoint/state
[ -f "$saved" ] && read -r epoch number < "$saved"
while [ "$epoch" -lt "$2" ]; do
    sleep "${NAP:-0}"
    epoch=$((epoch + 1))
    number=$(awk "BEGIN {printf \"%.9f\", $number / 2}")
    echo "epoch $epoch: $number"
    echo "$epoch $number" > "$saved.new" && mv "$saved.new" "$saved"
    echo "{\"epoch\": $epoch, \"val/size_px\": $number, \"test/size_px\": $number}" >> "$SWEEPS_RECORDS"
done
