#!/bin/sh
# f(a, b) = (a - 1)^2 + 10 (b + 2)^2 and its gradient, in awk: one line of JSON in, one out.
echo '{"nplus1":1,"theta":[0.5,0.5],"names":["a","b"]}'
while IFS= read -r request; do
    printf '%s\n' "$request" | awk '{
        match($0, /"id":[0-9]+/); id = substr($0, RSTART + 5, RLENGTH - 5)
        match($0, /"theta":\[[^]]*/); split(substr($0, RSTART + 9, RLENGTH - 9), theta, ",")
        a = theta[1] - 1; b = theta[2] + 2
        printf "{\"id\":%d,\"loss\":%.17g,\"gradient\":[%.17g,%.17g]}\n", id, a * a + 10 * b * b, 2 * a, 20 * b
    }'
done
