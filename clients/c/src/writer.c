/* MessagePack writer, see writer.h. */
#include "writer.h"

#include <string.h>

void ka_writer_init(struct ka_writer *writer, uint8_t *buf, size_t cap) {
    *writer = (struct ka_writer){.buf = buf, .cap = cap};
}

static void put_bytes(struct ka_writer *writer, const void *data, size_t len) {
    if (writer->overflow || len > writer->cap - writer->len) {
        writer->overflow = true;
        return;
    }
    if (len > 0) memcpy(writer->buf + writer->len, data, len);
    writer->len += len;
}

/* A type byte and a big-endian number of `width` bytes. */
static void put_typed(struct ka_writer *writer, uint8_t type, uint32_t number, size_t width) {
    uint8_t bytes[5] = {type};
    for (size_t i = 0; i < width; i++)
        bytes[1 + i] = (uint8_t)(number >> (8 * (width - 1 - i)));
    put_bytes(writer, bytes, 1 + width);
}

size_t ka_frame_begin(struct ka_writer *writer) {
    size_t start = writer->len;
    put_bytes(writer, "\0\0\0\0", 4);
    return start;
}

void ka_frame_end(struct ka_writer *writer, size_t start) {
    if (writer->overflow) return;
    size_t body = writer->len - start - 4;
    for (size_t i = 0; i < 4; i++)
        writer->buf[start + i] = (uint8_t)(body >> (8 * (3 - i)));
}

void ka_write_bool(struct ka_writer *writer, bool value) {
    put_typed(writer, value ? 0xc3 : 0xc2, 0, 0);
}

void ka_write_uint(struct ka_writer *writer, uint32_t value) {
    if (value <= 0x7f)
        put_typed(writer, (uint8_t)value, 0, 0);
    else if (value <= 0xff)
        put_typed(writer, 0xcc, value, 1);
    else if (value <= 0xffff)
        put_typed(writer, 0xcd, value, 2);
    else
        put_typed(writer, 0xce, value, 4);
}

void ka_write_str(struct ka_writer *writer, const char *text) {
    ka_write_str_span(writer, (struct ka_span){(const uint8_t *)text, strlen(text)});
}

void ka_write_str_span(struct ka_writer *writer, struct ka_span text) {
    if (text.len <= 0x1f)
        put_typed(writer, (uint8_t)(0xa0 | text.len), 0, 0);
    else if (text.len <= 0xff)
        put_typed(writer, 0xd9, (uint32_t)text.len, 1);
    else if (text.len <= 0xffff)
        put_typed(writer, 0xda, (uint32_t)text.len, 2);
    else
        writer->overflow = true;
    put_bytes(writer, text.data, text.len);
}

void ka_write_bin(struct ka_writer *writer, struct ka_span data) {
    if (data.len <= 0xff)
        put_typed(writer, 0xc4, (uint32_t)data.len, 1);
    else if (data.len <= 0xffff)
        put_typed(writer, 0xc5, (uint32_t)data.len, 2);
    else
        writer->overflow = true;
    put_bytes(writer, data.data, data.len);
}

static void put_count(struct ka_writer *writer, uint8_t fix, uint8_t type16, size_t count) {
    if (count <= 0x0f)
        put_typed(writer, (uint8_t)(fix | count), 0, 0);
    else if (count <= 0xffff)
        put_typed(writer, type16, (uint32_t)count, 2);
    else
        writer->overflow = true;
}

void ka_write_array(struct ka_writer *writer, size_t count) {
    put_count(writer, 0x90, 0xdc, count);
}

void ka_write_map(struct ka_writer *writer, size_t count) {
    put_count(writer, 0x80, 0xde, count);
}
