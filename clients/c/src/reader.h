/*
 * Reads one MessagePack message: a bounds-checked cursor over bytes that somebody else wrote. The subset is
 * that of PROTOCOL.md: nil, bool, uint32, str, bin, array, map; lengths of at most 16 bits. Everything else
 * is refused. Spans that it hands out point into the message.
 */
#ifndef KEYAGENT_READER_H
#define KEYAGENT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keyagent.h"

struct ka_span {
    const uint8_t *data;
    size_t len; /* bytes */
};

struct ka_reader {
    const uint8_t *at;
    const uint8_t *end;
};

void ka_reader_init(struct ka_reader *reader, struct ka_span message);
bool ka_reader_at_end(const struct ka_reader *reader);

/* Each returns false if the next value is of another type, over its limit, or cut short; the cursor is then
 * of no further use. */
KA_MUSTUSE bool ka_read_uint(struct ka_reader *reader, uint32_t *out);
KA_MUSTUSE bool ka_read_bool(struct ka_reader *reader, bool *out);
/* UTF-8 of at most `max` bytes; not NUL-terminated. */
KA_MUSTUSE bool ka_read_str(struct ka_reader *reader, size_t max, struct ka_span *out);
KA_MUSTUSE bool ka_read_bin(struct ka_reader *reader, size_t max, struct ka_span *out);
/* The number of elements (array) or pairs (map) that follow. */
KA_MUSTUSE bool ka_read_array(struct ka_reader *reader, size_t max, size_t *count);
KA_MUSTUSE bool ka_read_map(struct ka_reader *reader, size_t max, size_t *count);

/* Takes a nil if one is next; false leaves the cursor where it was. */
bool ka_read_nil(struct ka_reader *reader);
/* A str that is one of `count` names; *index says which. */
KA_MUSTUSE bool ka_read_name(struct ka_reader *reader, const char *const *names, size_t count, size_t *index);
/* As ka_read_name, for the key of a map; `seen` has a bit for each name, and a second time is refused. */
KA_MUSTUSE bool ka_read_field(struct ka_reader *reader, const char *const *names, size_t count,
                              uint32_t *seen, size_t *index);

#endif
