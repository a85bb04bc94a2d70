/* The load generator: opens WebSockets to any server, publishes over MQTT, counts what arrives.
 *
 * Every message carries one marker with the time when it was sent; each marker that is seen on a
 * socket is one delivery, and its age is the latency. One thread publishes, one reads. The phases:
 *
 *     open all sockets -> settle -> warm -> measured window -> drain
 *
 * Everything is bounded: the latencies are kept in a histogram of fixed size, the window ends by time
 * (or earlier by --messages), and no wait is without a limit. The result is one JSON object.
 */
#define _GNU_SOURCE
#include <stdio.h>

#include "load/common.h"
#include "load/processes.h"
#include "load/publisher.h"
#include "load/sockets.h"

/* Longest wait for something to read; also how exactly the window ends on an idle server. */
#define POLL_MS 10
/* Handshake CPU is read when the sockets have been quiet for so long: the server's first frames count. */
#define QUIET_MS 100
#define QUIET_TRIES 20

/* What one process had used at the turning points of the run. */
struct usage {
    double cpu_before;
    double cpu_open;
    double cpu_start;
    double cpu_end;
    long rss_before;
    long rss_open;
    long rss_end;
};

struct run {
    struct options options;
    struct sockets sockets;
    struct publisher publisher;
    struct usage usage[MAX_PROCESSES];
    double open_seconds;
    double window_seconds;
    double own_cpu;   /* of this program in the window, in seconds */
    double busy;      /* of the machine in the window, in seconds */
    uint64_t published_in_window;
};

static void read_for(struct run *run, double seconds)
{
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);

    while (now_ns() < end)
        sockets_read(&run->sockets, POLL_MS);
}

static void open_sockets(struct run *run)
{
    for (int i = 0; i < run->options.process_count; i++) {
        run->usage[i].cpu_before = process_cpu_seconds(run->options.processes[i].pid);
        run->usage[i].rss_before = process_rss_kb(run->options.processes[i].pid);
    }
    uint64_t start = now_ns();
    sockets_open(&run->sockets);
    run->open_seconds = (double)(now_ns() - start) / 1e9;
    for (int tries = 0; tries < QUIET_TRIES && sockets_read(&run->sockets, QUIET_MS) > 0; tries++)
        continue;
    for (int i = 0; i < run->options.process_count; i++)
        run->usage[i].cpu_open = process_cpu_seconds(run->options.processes[i].pid);
    read_for(run, run->options.settle);
    for (int i = 0; i < run->options.process_count; i++)
        run->usage[i].rss_open = process_rss_kb(run->options.processes[i].pid);
}

static double own_cpu_seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void measure_window(struct run *run)
{
    uint64_t start = now_ns();
    uint64_t end = start + (uint64_t)(run->options.seconds * 1e9);
    uint64_t published = run->publisher.published;

    run->own_cpu = own_cpu_seconds();
    run->busy = machine_busy_seconds();
    for (int i = 0; i < run->options.process_count; i++)
        run->usage[i].cpu_start = process_cpu_seconds(run->options.processes[i].pid);
    run->sockets.tally.window_start_ns = start;
    while (now_ns() < end && !run->publisher.finished)
        sockets_read(&run->sockets, POLL_MS);
    run->sockets.tally.window_end_ns = now_ns();
    run->window_seconds = (double)(run->sockets.tally.window_end_ns - start) / 1e9;
    for (int i = 0; i < run->options.process_count; i++) {
        run->usage[i].cpu_end = process_cpu_seconds(run->options.processes[i].pid);
        run->usage[i].rss_end = process_rss_kb(run->options.processes[i].pid);
    }
    run->busy = machine_busy_seconds() - run->busy;
    run->own_cpu = own_cpu_seconds() - run->own_cpu;
    run->published_in_window = run->publisher.published - published;
}

/* Reads on while the publisher ends: a pause here would look like latency of the last messages. */
static void stop_publisher(struct run *run)
{
    run->publisher.stop = 1;
    while (!run->publisher.finished)
        sockets_read(&run->sockets, POLL_MS);
    publisher_end(&run->publisher);
}

/* Reads on until everything that is expected has come, or until the time for it is over. */
static void drain(struct run *run, uint64_t expected)
{
    uint64_t end = now_ns() + (uint64_t)(run->options.drain * 1e9);

    while (run->sockets.tally.delivered < expected && now_ns() < end)
        sockets_read(&run->sockets, POLL_MS);
}

static void print_processes(const struct run *run)
{
    uint64_t delivered = run->sockets.tally.delivered_in_window;
    double sockets = run->sockets.count;

    printf("\"processes\":{");
    for (int i = 0; i < run->options.process_count; i++) {
        const struct usage *usage = &run->usage[i];
        double used = usage->cpu_end - usage->cpu_start;
        printf("%s\"%s\":{\"cpu_share\":%.4f,\"us_per_delivery\":%.3f,\"us_per_open\":%.1f,"
               "\"kb_per_socket\":%.2f,\"rss_before_kb\":%ld,\"rss_open_kb\":%ld,\"rss_end_kb\":%ld}",
               i ? "," : "", run->options.processes[i].name, used / run->window_seconds,
               delivered ? used * 1e6 / (double)delivered : 0.0,
               (usage->cpu_open - usage->cpu_before) * 1e6 / sockets,
               (double)(usage->rss_open - usage->rss_before) / sockets, usage->rss_before, usage->rss_open,
               usage->rss_end);
    }
    printf("}");
}

static void print_latencies(const struct histogram *latencies)
{
    printf("\"latency_ms\":{\"samples\":%lu,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p99_9\":%.3f,\"max\":%.3f}",
           (unsigned long)latencies->total, histogram_quantile_ms(latencies, 0.5),
           histogram_quantile_ms(latencies, 0.9), histogram_quantile_ms(latencies, 0.99),
           histogram_quantile_ms(latencies, 0.999), (double)latencies->max_ns / 1e6);
}

static void print_result(const struct run *run, uint64_t expected)
{
    const struct tally *tally = &run->sockets.tally;
    double window = run->window_seconds;
    double others = run->busy - run->own_cpu;

    for (int i = 0; i < run->options.process_count; i++)
        others -= run->usage[i].cpu_end - run->usage[i].cpu_start;
    printf("{\"sockets\":%d,\"stalled\":%d,\"devices\":%d,\"watch\":%d,", run->options.sockets, run->options.stalled,
           run->options.devices, run->options.watch);
    printf("\"open_seconds\":%.3f,\"opens_per_s\":%.0f,", run->open_seconds, run->sockets.count / run->open_seconds);
    printf("\"window_seconds\":%.3f,\"published\":%lu,\"expected\":%lu,\"delivered\":%lu,", window,
           (unsigned long)run->publisher.published, (unsigned long)expected, (unsigned long)tally->delivered);
    printf("\"published_per_s\":%.1f,\"delivered_per_s\":%.1f,\"megabytes_per_s\":%.2f,",
           (double)run->published_in_window / window, (double)tally->delivered_in_window / window,
           (double)tally->bytes_in_window / window / 1e6);
    print_latencies(&tally->latencies);
    printf(",\"closed\":%d,\"last_close_code\":%d,\"stalled_cut\":%d,", tally->closed, tally->last_close_code,
           sockets_count_cut(&run->sockets));
    printf("\"publisher_late_ms\":%.2f,\"load_cpu_share\":%.4f,\"other_cpu_share\":%.4f,",
           (double)run->publisher.late_ns / 1e6, run->own_cpu / window, others > 0 ? others / window : 0.0);
    print_processes(run);
    printf("}\n");
}

int main(int count, char **arguments)
{
    static struct run run; /* too large for the stack, and all zero */
    uint64_t expected = 0;

    run.options = read_options(count, arguments);
    sockets_prepare(&run.sockets, &run.options);
    open_sockets(&run);
    if (run.options.rate > 0) {
        publisher_start(&run.publisher, &run.options);
        read_for(&run, run.options.warm);
    }
    measure_window(&run);
    if (run.options.rate > 0) {
        stop_publisher(&run);
        expected = sockets_expected(&run.options, run.publisher.published);
        drain(&run, expected);
    }
    print_result(&run, expected);
    return 0;
}
