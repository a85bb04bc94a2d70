/* What every part of the load generator uses. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stddef.h>
#include <stdint.h>

/* Exit statuses of the program. */
#define EXIT_USAGE 2       /* a wrong option */
#define EXIT_ENVIRONMENT 3 /* the server, the MQTT broker or the machine did not do its part */

/* Monotonic time in nanoseconds. Publisher and readers share this clock, so ages are exact. */
uint64_t now_ns(void);

/* Prints "load: " and the message to standard error and exits with `status`. */
_Noreturn void fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A TCP connection to an IPv4 address. `blocking` also says whether the connect is waited for. */
int tcp_connect(const char *host, int port, int blocking);

/* Writes all bytes, waiting where a non-blocking socket is full; -1 when the peer has gone. */
int write_all(int fd, const void *bytes, size_t size);

#endif
