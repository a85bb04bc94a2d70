/* Tokens from a file, one a line: for servers that give every socket, or every device, its own. */
#ifndef BENCH_TOKENS_H
#define BENCH_TOKENS_H

struct tokens {
    char **lines;
    int count;
};

/* Reads the file; ends the program when it cannot be read, is empty, or has a line that is too long. */
struct tokens tokens_read(const char *path);

#endif
