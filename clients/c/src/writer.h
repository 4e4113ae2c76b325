/*
 * Writes frames into a buffer of the caller: a 4-byte big-endian length, then one MessagePack message in its
 * shortest encoding. Once something did not fit, `overflow` stays set and the content is of no use.
 */
#ifndef KEYAGENT_WRITER_H
#define KEYAGENT_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reader.h"

struct ka_writer {
    uint8_t *buf;
    size_t cap;
    size_t len; /* bytes written */
    bool overflow;
};

void ka_writer_init(struct ka_writer *writer, uint8_t *buf, size_t cap);

/* Leaves room for the length; returns where the frame starts. */
size_t ka_frame_begin(struct ka_writer *writer);
/* Fills the length in of the frame that began at `start`. */
void ka_frame_end(struct ka_writer *writer, size_t start);

void ka_write_bool(struct ka_writer *writer, bool value);
void ka_write_uint(struct ka_writer *writer, uint32_t value);
void ka_write_str(struct ka_writer *writer, const char *text);
/* At most 65535 bytes, as for the counts below; more is an overflow. `text` is UTF-8. */
void ka_write_str_span(struct ka_writer *writer, struct ka_span text);
void ka_write_bin(struct ka_writer *writer, struct ka_span data);
void ka_write_array(struct ka_writer *writer, size_t count);
void ka_write_map(struct ka_writer *writer, size_t count);

#endif
