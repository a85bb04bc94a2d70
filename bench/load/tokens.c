#define _GNU_SOURCE
#include "tokens.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "wire.h"

struct tokens tokens_read(const char *path)
{
    struct tokens tokens = {0};
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "r");

    if (!file)
        fail(EXIT_USAGE, "%s: %s", path, strerror(errno));
    for (ssize_t size; (size = getline(&line, &room, file)) > 0;) {
        line[strcspn(line, "\r\n")] = 0;
        if (size > TOKEN_BYTES || !*line)
            fail(EXIT_USAGE, "%s: line %d is empty or longer than %d bytes", path, tokens.count + 1, TOKEN_BYTES);
        tokens.lines = realloc(tokens.lines, (size_t)(tokens.count + 1) * sizeof *tokens.lines);
        if (!tokens.lines || !(tokens.lines[tokens.count++] = strdup(line)))
            fail(EXIT_ENVIRONMENT, "out of memory");
    }
    free(line);
    fclose(file);
    if (tokens.count == 0)
        fail(EXIT_USAGE, "%s holds no token", path);
    return tokens;
}
