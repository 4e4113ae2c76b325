/* MessagePack reader, see reader.h. Type bytes: msgpack specification, "Formats". */
#include "reader.h"

#include <string.h>

#include "utf8.h"

void ka_reader_init(struct ka_reader *reader, struct ka_span message) {
    reader->at = message.data;
    reader->end = message.data + message.len;
}

bool ka_reader_at_end(const struct ka_reader *reader) {
    return reader->at == reader->end;
}

static size_t bytes_left(const struct ka_reader *reader) {
    return (size_t)(reader->end - reader->at);
}

static bool take_byte(struct ka_reader *reader, uint8_t *out) {
    if (bytes_left(reader) < 1) return false;
    *out = *reader->at++;
    return true;
}

/* A big-endian number of `width` bytes, at most 4. */
static bool take_number(struct ka_reader *reader, size_t width, uint32_t *out) {
    if (bytes_left(reader) < width) return false;
    uint32_t number = 0;
    for (size_t i = 0; i < width; i++)
        number = number << 8 | *reader->at++;
    *out = number;
    return true;
}

static bool take_span(struct ka_reader *reader, uint32_t len, size_t max, struct ka_span *out) {
    if (len > max || len > bytes_left(reader)) return false;
    *out = (struct ka_span){reader->at, len};
    reader->at += len;
    return true;
}

bool ka_read_uint(struct ka_reader *reader, uint32_t *out) {
    uint8_t type;
    if (!take_byte(reader, &type)) return false;
    if (type <= 0x7f) {
        *out = type;
        return true;
    }
    switch (type) {
    case 0xcc:
        return take_number(reader, 1, out);
    case 0xcd:
        return take_number(reader, 2, out);
    case 0xce:
        return take_number(reader, 4, out);
    default:
        return false;
    }
}

bool ka_read_bool(struct ka_reader *reader, bool *out) {
    uint8_t type;
    if (!take_byte(reader, &type) || (type != 0xc2 && type != 0xc3)) return false;
    *out = type == 0xc3;
    return true;
}

bool ka_read_nil(struct ka_reader *reader) {
    if (bytes_left(reader) < 1 || *reader->at != 0xc0) return false;
    reader->at++;
    return true;
}

/* A length in one of its forms: `fix` with its bits under `fix_mask`, or `type8` or `type16` and that many
 * bits. A form that a type does not have is passed as 0, which is the type byte of a number and so never
 * asked for. */
static bool take_length(struct ka_reader *reader, uint8_t fix, uint8_t fix_mask, uint8_t type8,
                        uint8_t type16, uint32_t *len) {
    uint8_t type;
    if (!take_byte(reader, &type) || type == 0) return false;
    if (fix != 0 && (type & ~fix_mask) == fix) {
        *len = type & fix_mask;
        return true;
    }
    if (type == type8) return take_number(reader, 1, len);
    if (type == type16) return take_number(reader, 2, len);
    return false;
}

bool ka_read_str(struct ka_reader *reader, size_t max, struct ka_span *out) {
    uint32_t len;
    return take_length(reader, 0xa0, 0x1f, 0xd9, 0xda, &len) && take_span(reader, len, max, out) &&
           ka_str_valid(out->data, out->len);
}

bool ka_read_bin(struct ka_reader *reader, size_t max, struct ka_span *out) {
    uint32_t len;
    return take_length(reader, 0, 0, 0xc4, 0xc5, &len) && take_span(reader, len, max, out);
}

bool ka_read_array(struct ka_reader *reader, size_t max, size_t *count) {
    uint32_t len;
    if (!take_length(reader, 0x90, 0x0f, 0, 0xdc, &len) || len > max) return false;
    *count = len;
    return true;
}

bool ka_read_map(struct ka_reader *reader, size_t max, size_t *count) {
    uint32_t len;
    if (!take_length(reader, 0x80, 0x0f, 0, 0xde, &len) || len > max) return false;
    *count = len;
    return true;
}

bool ka_read_name(struct ka_reader *reader, const char *const *names, size_t count, size_t *index) {
    struct ka_span text;
    if (!ka_read_str(reader, SIZE_MAX, &text)) return false;
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i]) == text.len && memcmp(names[i], text.data, text.len) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

bool ka_read_field(struct ka_reader *reader, const char *const *names, size_t count, uint32_t *seen,
                   size_t *index) {
    if (!ka_read_name(reader, names, count, index)) return false;
    uint32_t bit = UINT32_C(1) << *index;
    if (*seen & bit) return false;
    *seen |= bit;
    return true;
}
