#define _GNU_SOURCE
#include "processes.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

double process_cpu_seconds(int pid)
{
    clockid_t clock;
    struct timespec time;

    /* Nanoseconds; /proc/PID/stat counts the same time in steps of 10 ms. */
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        fail(EXIT_ENVIRONMENT, "process %d has gone", pid);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

long process_rss_kb(int pid)
{
    char name[64];
    long size = 0;
    long resident = 0;

    snprintf(name, sizeof name, "/proc/%d/statm", pid);
    FILE *file = fopen(name, "r");
    if (!file)
        fail(EXIT_ENVIRONMENT, "process %d has gone", pid);
    int fields = fscanf(file, "%ld %ld", &size, &resident);
    fclose(file);
    if (fields != 2)
        fail(EXIT_ENVIRONMENT, "%s cannot be read", name);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

double machine_busy_seconds(void)
{
    /* user, nice, system, idle, iowait, irq, softirq, steal: see proc(5). */
    unsigned long ticks[8] = {0};
    FILE *file = fopen("/proc/stat", "r");

    if (!file)
        fail(EXIT_ENVIRONMENT, "/proc/stat cannot be read");
    int fields = fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &ticks[0], &ticks[1], &ticks[2],
                        &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]);
    fclose(file);
    if (fields != 8)
        fail(EXIT_ENVIRONMENT, "/proc/stat has an unknown form");
    unsigned long busy = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7];
    return (double)busy / (double)sysconf(_SC_CLK_TCK);
}
