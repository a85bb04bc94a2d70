#include "histogram.h"

/* The step of a value: exact below HISTOGRAM_STEPS, then the position of its highest bits. */
static int step_of(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (int)value;
    if (value >> HISTOGRAM_MAX_BITS)
        return HISTOGRAM_SIZE - 1;
    int shift = 63 - __builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    return (shift + 1) * HISTOGRAM_STEPS + (int)((value >> shift) - HISTOGRAM_STEPS);
}

/* The largest value of a step. */
static uint64_t top_of(int step)
{
    if (step < HISTOGRAM_STEPS)
        return (uint64_t)step;
    int shift = step / HISTOGRAM_STEPS - 1;
    uint64_t base = (uint64_t)(step % HISTOGRAM_STEPS + HISTOGRAM_STEPS);
    return ((base + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value_ns)
{
    histogram->counts[step_of(value_ns)]++;
    histogram->total++;
    if (value_ns > histogram->max_ns)
        histogram->max_ns = value_ns;
}

double histogram_quantile_ms(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->total);
    uint64_t seen = 0;

    for (int step = 0; step < HISTOGRAM_SIZE; step++) {
        seen += histogram->counts[step];
        if (seen > wanted) {
            uint64_t top = top_of(step);
            return (double)(top < histogram->max_ns ? top : histogram->max_ns) / 1e6;
        }
    }
    return (double)histogram->max_ns / 1e6;
}
