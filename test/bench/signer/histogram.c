#include "histogram.h"

#include <stddef.h>

/* Durations below HISTOGRAM_STEPS have a bucket each; above, the leading bit and the six bits that follow it. */
static size_t bucket_of(uint64_t ns) {
    if (ns < HISTOGRAM_STEPS) return (size_t)ns;
    const unsigned exponent = 63U - (unsigned)__builtin_clzll(ns);
    return (size_t)(exponent - 5) * HISTOGRAM_STEPS + (size_t)((ns >> (exponent - 6)) & (HISTOGRAM_STEPS - 1));
}

static uint64_t middle_of(size_t bucket) {
    if (bucket < HISTOGRAM_STEPS) return bucket;
    const unsigned exponent = (unsigned)(bucket / HISTOGRAM_STEPS) + 5;
    const uint64_t step = UINT64_C(1) << (exponent - 6);
    return (UINT64_C(1) << exponent) + (bucket % HISTOGRAM_STEPS) * step + step / 2;
}

void histogram_add(struct histogram *histogram, uint64_t ns) {
    histogram->count++;
    if (ns > histogram->max_ns) histogram->max_ns = ns;
    histogram->buckets[bucket_of(ns)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from) {
    into->count += from->count;
    if (from->max_ns > into->max_ns) into->max_ns = from->max_ns;
    for (size_t i = 0; i < HISTOGRAM_LEN; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t histogram_quantile(const struct histogram *histogram, double share) {
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_LEN; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && (double)seen >= share * (double)histogram->count) return middle_of(i);
    }
    return 0;
}
