/* CPU time and memory of other processes, and of the machine (Linux). */
#ifndef BENCH_PROCESSES_H
#define BENCH_PROCESSES_H

/* User plus system time of a process, all threads, in seconds; ends the program when it is gone. */
double process_cpu_seconds(int pid);

/* Resident memory of a process in KiB; ends the program when it is gone. */
long process_rss_kb(int pid);

/* CPU time that all processors spent on anything but idling since boot, stolen time included. */
double machine_busy_seconds(void);

#endif
