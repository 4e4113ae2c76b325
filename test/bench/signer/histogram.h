/* Durations by their size, 64 steps for each power of two: no figure is off by more than 1.6 %. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 64, HISTOGRAM_LEN = 64 * HISTOGRAM_STEPS };

struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint32_t buckets[HISTOGRAM_LEN];
};

void histogram_add(struct histogram *histogram, uint64_t ns);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* @param share 0.5 for the median. @return nanoseconds; 0 of nothing */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
