/* A histogram of latencies: fixed size, exact counts, values kept to within 1.6 %. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

/* 64 steps in each power of two: a step is at most 1/64 of its value. */
#define HISTOGRAM_STEP_BITS 6
#define HISTOGRAM_STEPS (1 << HISTOGRAM_STEP_BITS)
/* Values up to 2^40 ns, 18 minutes, have a step of their own; longer ones share the last. */
#define HISTOGRAM_MAX_BITS 40
#define HISTOGRAM_SIZE ((HISTOGRAM_MAX_BITS - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS)

struct histogram {
    uint64_t counts[HISTOGRAM_SIZE];
    uint64_t total;
    uint64_t max_ns;
};

/* Counts one value, in nanoseconds. Never allocates. */
void histogram_add(struct histogram *histogram, uint64_t value_ns);

/* The value, in milliseconds, that `share` (0 to 1) of the values do not exceed; 0 when empty. */
double histogram_quantile_ms(const struct histogram *histogram, double share);

#endif
