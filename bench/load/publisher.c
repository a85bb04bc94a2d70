#define _GNU_SOURCE
#include "publisher.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "wire.h"

/* The payload without its padding. */
#define PAYLOAD_BYTES 512
#define MAX_PACKET_BYTES (PAYLOAD_BYTES + 60000 + 2 * TOPIC_BYTES + 256)

/* "2026-11-20T10:30:00" of now, made anew once a second: strftime costs more than the rest. */
static const char *current_second(long *milliseconds)
{
    static char text[32];
    static time_t made_for;
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    if (time.tv_sec != made_for) {
        struct tm parts;
        gmtime_r(&time.tv_sec, &parts);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
        made_for = time.tv_sec;
    }
    *milliseconds = time.tv_nsec / 1000000;
    return text;
}

/* A position report as a tracker sends it; the place changes with every message. */
static size_t make_payload(struct publisher *publisher, char *out, int device)
{
    long milliseconds = 0;
    const char *second = current_second(&milliseconds);
    unsigned place = (unsigned)(publisher->sequence++ % 10000);

    return (size_t)sprintf(out,
                           "{\"timestamp\":\"%s.%03ldZ\",\"data\":{\"DEVICE_ID\":\"dev%05d\",\"LAT\":-33.%04u,"
                           "\"LON\":-70.6789,\"SPEED\":45,\"T\":\"@@%016lx@@\",\"P\":\"%s\"}}",
                           second, milliseconds, device, place, (unsigned long)now_ns(), publisher->padding);
}

static void publish_http(struct publisher *publisher, const char *payload, size_t size, int device)
{
    static char request[MAX_PACKET_BYTES];
    const char *path = publisher->options->http_publish;
    const char *mark = strstr(path, "%D");
    char id[TOPIC_BYTES] = "";
    char answer[4096];

    if (mark)
        device_id_of(id, device);
    int prefix = mark ? (int)(mark - path) : (int)strlen(path);
    int head = snprintf(request, sizeof request,
                        "POST %.*s%s%s HTTP/1.1\r\nHost: bench\r\nContent-Length: %zu\r\n\r\n", prefix, path, id,
                        mark ? mark + 2 : "", size);
    memcpy(request + head, payload, size);
    if (write_all(publisher->fd, request, (size_t)head + size) < 0 || read(publisher->fd, answer, sizeof answer) <= 0)
        fail(EXIT_ENVIRONMENT, "the server closed the publishing connection");
}

static void publish_one(struct publisher *publisher, int device)
{
    static char payload[MAX_PACKET_BYTES];
    static unsigned char packet[MAX_PACKET_BYTES];
    char topic[TOPIC_BYTES];
    size_t size = make_payload(publisher, payload, device);

    if (publisher->options->http_publish) {
        publish_http(publisher, payload, size, device);
        return;
    }
    topic_of(topic, device);
    size = mqtt_publish(packet, topic, payload, size);
    if (write_all(publisher->fd, packet, size) < 0)
        fail(EXIT_ENVIRONMENT, "the MQTT broker closed the publishing connection");
}

/* Sleeps until `due`, or notes how far behind we are. */
static void wait_until(struct publisher *publisher, uint64_t due)
{
    uint64_t now = now_ns();

    if (now >= due) {
        if (now - due > publisher->late_ns)
            publisher->late_ns = now - due;
        return;
    }
    struct timespec when = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

static void publish_until_stopped(struct publisher *publisher)
{
    const struct options *options = publisher->options;
    double gap_ns = 1e9 / options->rate * options->burst;
    uint64_t start = now_ns();
    int device = 0;

    /* Bursts are due at fixed times, so a stall is caught up and not hidden. */
    for (uint64_t burst = 0; !publisher->stop; burst++) {
        wait_until(publisher, start + (uint64_t)(gap_ns * (double)burst));
        for (int i = 0; i < options->burst; i++) {
            publish_one(publisher, device);
            device = (device + 1) % options->devices;
            publisher->published++;
            if (publisher->published == options->messages)
                return;
        }
    }
}

static void *publish(void *argument)
{
    struct publisher *publisher = argument;

    publish_until_stopped(publisher);
    publisher->finished = 1;
    return NULL;
}

static void mqtt_handshake(const struct publisher *publisher)
{
    unsigned char packet[1100];
    unsigned char answer[4] = {0};
    char client_id[40];
    size_t got = 0;

    snprintf(client_id, sizeof client_id, "bench-publisher-%d", getpid());
    size_t size = mqtt_connect(packet, client_id, publisher->options->mqtt_user, publisher->options->mqtt_password);
    if (write_all(publisher->fd, packet, size) < 0)
        fail(EXIT_ENVIRONMENT, "the MQTT broker closed the connection");
    while (got < sizeof answer) {
        ssize_t read_now = read(publisher->fd, answer + got, sizeof answer - got);
        if (read_now <= 0)
            fail(EXIT_ENVIRONMENT, "the MQTT broker closed the connection before CONNACK");
        got += (size_t)read_now;
    }
    if (answer[3] != 0)
        fail(EXIT_ENVIRONMENT, "the MQTT broker refused us: CONNACK %d", answer[3]);
}

void publisher_start(struct publisher *publisher, const struct options *options)
{
    publisher->options = options;
    publisher->padding = malloc((size_t)options->padding + 1);
    if (!publisher->padding)
        fail(EXIT_ENVIRONMENT, "out of memory");
    memset(publisher->padding, 'x', (size_t)options->padding);
    publisher->padding[options->padding] = 0;
    publisher->fd = tcp_connect(options->mqtt_host, options->mqtt_port, 1);
    if (!options->http_publish)
        mqtt_handshake(publisher);
    int error = pthread_create(&publisher->thread, NULL, publish, publisher);
    if (error)
        fail(EXIT_ENVIRONMENT, "pthread_create: %s", strerror(error));
}

void publisher_end(struct publisher *publisher)
{
    pthread_join(publisher->thread, NULL);
    close(publisher->fd);
    free(publisher->padding);
}
