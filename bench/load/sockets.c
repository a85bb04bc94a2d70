#define _GNU_SOURCE
#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"
#include "frames.h"
#include "markers.h"
#include "wire.h"

#define EVENTS 512
/* One read; the room before it holds a marker that the last read had cut. */
#define READ_BYTES (256 * 1024)
#define ANSWER_BYTES 4096
/* A server that opens nothing for so long is stuck. */
#define OPEN_WAIT_MS 10000
/* Asks for the least that the kernel gives (2,304 bytes, socket(7)). */
#define STALLED_RCVBUF_BYTES 1
/* Descriptors besides the sockets: standard ones, epoll, publisher, /proc. */
#define SPARE_DESCRIPTORS 32

static struct watch watch_of(const struct options *options, int index)
{
    struct watch watch = {
        .first = (int)((long)index * options->watch % options->devices),
        .count = options->watch,
        .devices = options->devices,
    };
    return watch;
}

static void raise_descriptor_limit(int wanted)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= (rlim_t)wanted)
        return;
    limit.rlim_cur = (rlim_t)wanted;
    if (limit.rlim_max < limit.rlim_cur)
        limit.rlim_max = limit.rlim_cur; /* allowed to root only */
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        fail(EXIT_ENVIRONMENT, "%d open files are needed; raise the limit (ulimit -n)", wanted);
}

void sockets_prepare(struct sockets *sockets, const struct options *options)
{
    sockets->options = options;
    sockets->tally.marker = marker_of(options);
    if (options->tokens)
        sockets->tokens = tokens_read(options->tokens);
    sockets->count = options->sockets + options->stalled;
    raise_descriptor_limit(sockets->count + SPARE_DESCRIPTORS);
    sockets->all = calloc((size_t)sockets->count, sizeof *sockets->all);
    sockets->epoll = epoll_create1(0);
    if (!sockets->all || sockets->epoll < 0)
        fail(EXIT_ENVIRONMENT, "no memory for %d sockets", sockets->count);
    for (int i = 0; i < sockets->count; i++) {
        sockets->all[i].index = i;
        sockets->all[i].stalled = i >= options->sockets;
    }
}

/* Gives the socket a source address of its own group, so that ports do not run out. */
static void bind_source(int fd, int index, int sources)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int one = 1;

    address.sin_addr.s_addr = htonl(0x7f000101u + (uint32_t)(index % sources));
    /* The port is then chosen at connect, where only the pair of both ends must be unique. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail(EXIT_ENVIRONMENT, "bind to 127.0.1.%d: %s", 1 + index % sources, strerror(errno));
}

static void start(struct sockets *sockets, struct connection *connection)
{
    const struct options *options = sockets->options;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = connection};
    int one = 1;
    int tiny = STALLED_RCVBUF_BYTES;

    if (inet_pton(AF_INET, options->host, &address.sin_addr) != 1)
        fail(EXIT_USAGE, "%s is not an IPv4 address", options->host);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        fail(EXIT_ENVIRONMENT, "socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connection->stalled)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny); /* before connect: it sets the window */
    if (options->sources > 1)
        bind_source(fd, connection->index, options->sources);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail(EXIT_ENVIRONMENT, "connect to %s:%d: %s", options->host, options->port, strerror(errno));
    connection->fd = fd;
    connection->answer = malloc(ANSWER_BYTES + 1);
    if (!connection->answer)
        fail(EXIT_ENVIRONMENT, "out of memory");
    epoll_ctl(sockets->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* The request path with %D, %I and %T filled in. */
static void make_path(char *out, const struct sockets *sockets, int index)
{
    const struct options *options = sockets->options;
    const struct tokens *tokens = &sockets->tokens;
    size_t used = 0;

    for (const char *from = options->path; *from; from++) {
        if (used + TOKEN_BYTES > WIRE_BYTES)
            fail(EXIT_USAGE, "--path is too long");
        if (from[0] == '%' && from[1] == 'D') {
            used += device_list(out + used, watch_of(options, index));
            from++;
        } else if (from[0] == '%' && from[1] == 'I') {
            used += (size_t)sprintf(out + used, "%d", index);
            from++;
        } else if (from[0] == '%' && from[1] == 'T' && tokens->count) {
            used += (size_t)sprintf(out + used, "%s", tokens->lines[index % tokens->count]);
            from++;
        } else {
            out[used++] = *from;
        }
    }
    out[used] = 0;
}

static void send_handshake(struct sockets *sockets, struct connection *connection)
{
    static char path[2 * WIRE_BYTES];
    static char request[4 * WIRE_BYTES];
    const struct options *options = sockets->options;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

    make_path(path, sockets, connection->index);
    /* The key is the sample of RFC 6455: a load generator needs no surprise, and the answer is not checked. */
    size_t size =
        (size_t)sprintf(request,
                        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
                           path, options->host, options->port);
    if (options->subprotocol)
        size += (size_t)snprintf(request + size, 1024, "Sec-WebSocket-Protocol: %.900s\r\n", options->subprotocol);
    for (int i = 0; i < options->header_count; i++)
        size += (size_t)snprintf(request + size, 8200, "%.8000s\r\n", options->headers[i]);
    size += (size_t)sprintf(request + size, "\r\n");
    if (write_all(connection->fd, request, size) < 0)
        fail(EXIT_ENVIRONMENT, "socket %d: the server closed it before the handshake", connection->index);
    connection->state = STATE_UPGRADING;
    epoll_ctl(sockets->epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

/* Says which devices this socket wants, where the URL has not. */
static void subscribe(const struct sockets *sockets, const struct connection *connection)
{
    static unsigned char body[WIRE_BYTES];
    const struct options *options = sockets->options;
    struct watch watch = watch_of(options, connection->index);
    char client_id[40];

    if (options->protocol == PROTOCOL_MQTT) {
        snprintf(client_id, sizeof client_id, "bench-%d-%d", getpid(), connection->index);
        size_t size = mqtt_connect(body, client_id, options->mqtt_user, options->mqtt_password);
        frames_send(connection->fd, OPCODE_BINARY, body, size);
        frames_send(connection->fd, OPCODE_BINARY, body, mqtt_subscribe(body, watch));
    } else if (options->protocol == PROTOCOL_NATS) {
        frames_send(connection->fd, OPCODE_BINARY, body, nats_subscribe((char *)body, watch));
    }
}

/* Reads the answer to the handshake; what follows its head are frames. */
static void read_answer(struct sockets *sockets, struct connection *connection)
{
    size_t room = ANSWER_BYTES - connection->answer_bytes;
    ssize_t got = recv(connection->fd, connection->answer + connection->answer_bytes, room, 0);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        fail(EXIT_ENVIRONMENT, "socket %d of %d: the server closed it during the handshake", connection->index + 1,
             sockets->count);
    connection->answer_bytes += (size_t)got;
    connection->answer[connection->answer_bytes] = 0;
    char *end = strstr(connection->answer, "\r\n\r\n");
    if (!end && connection->answer_bytes < ANSWER_BYTES)
        return;
    if (!end || strncmp(connection->answer, "HTTP/1.1 101", 12) != 0)
        fail(EXIT_ENVIRONMENT, "socket %d of %d was refused: %.300s", connection->index + 1, sockets->count,
             connection->answer);
    size_t head = (size_t)(end + 4 - connection->answer);
    connection->state = STATE_OPEN;
    sockets->opened++;
    frames_read(connection, &sockets->tally, connection->answer + head, connection->answer_bytes - head);
    free(connection->answer);
    connection->answer = NULL;
    subscribe(sockets, connection);
    if (connection->stalled)
        epoll_ctl(sockets->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
}

static void read_frames(struct sockets *sockets, struct connection *connection)
{
    static char memory[MARKER_BYTES + READ_BYTES];
    char *buffer = memory + MARKER_BYTES;
    ssize_t got = recv(connection->fd, buffer, READ_BYTES, 0);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        connection->state = STATE_CLOSED;
        sockets->tally.closed++;
        epoll_ctl(sockets->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
        return;
    }
    frames_read(connection, &sockets->tally, buffer, (size_t)got);
    markers_read(connection, &sockets->tally, buffer, (size_t)got);
}

int sockets_read(struct sockets *sockets, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(sockets->epoll, events, EVENTS, timeout_ms);

    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection->state == STATE_CONNECTING)
            send_handshake(sockets, connection);
        else if (connection->state == STATE_UPGRADING)
            read_answer(sockets, connection);
        else if (connection->state == STATE_OPEN)
            read_frames(sockets, connection);
    }
    return count;
}

void sockets_open(struct sockets *sockets)
{
    while (sockets->opened < sockets->count) {
        while (sockets->started < sockets->count && sockets->started - sockets->opened < sockets->options->opening)
            start(sockets, &sockets->all[sockets->started++]);
        if (sockets_read(sockets, OPEN_WAIT_MS) == 0)
            fail(EXIT_ENVIRONMENT, "stuck: %d of %d sockets are open", sockets->opened, sockets->count);
    }
}

int sockets_count_cut(const struct sockets *sockets)
{
    int cut = 0;

    for (int i = sockets->options->sockets; i < sockets->count; i++) {
        struct pollfd state = {.fd = sockets->all[i].fd, .events = POLLRDHUP};
        if (poll(&state, 1, 0) == 1 && state.revents & (POLLRDHUP | POLLHUP | POLLERR))
            cut++;
    }
    return cut;
}

uint64_t sockets_expected(const struct options *options, uint64_t published)
{
    uint64_t *subscribers = calloc((size_t)options->devices, sizeof *subscribers);
    uint64_t expected = 0;
    uint64_t devices = (uint64_t)options->devices;

    if (!subscribers)
        fail(EXIT_ENVIRONMENT, "out of memory");
    for (int i = 0; i < options->sockets; i++)
        for (int j = 0; j < options->watch; j++)
            subscribers[(watch_of(options, i).first + j) % options->devices]++;
    for (uint64_t device = 0; device < devices; device++)
        expected += subscribers[device] * (published / devices + (device < published % devices));
    free(subscribers);
    return expected;
}
