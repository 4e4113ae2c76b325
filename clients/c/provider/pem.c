/*
 * PEM, as strictly as RFC 7468 3 asks for text that a program wrote: base64 lines, nothing between the
 * borders but them. Lines are read one by one, so that the bytes after the block stay where they are.
 */
#include <string.h>
#include "pem.h"

#define LINE_MAX_BYTES 128 /* a longer line is no line of ours; BIO_gets gives it in pieces */

typedef struct base64_state {
    uint32_t bits;
    unsigned digits, padding; /* of the running group of four */
} base64_state;

static int digit_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

/* Takes one character; a group's bytes go to out. False: not base64, or out is full. */
static bool take_digit(base64_state *state, char c, uint8_t *out, size_t *len, size_t capacity) {
    int value = digit_value(c);
    if (c == '=' && state->digits >= 2)
        state->padding++;
    else if (value < 0 || state->padding > 0)
        return false;
    state->bits = state->bits << 6 | (uint32_t)(c == '=' ? 0 : value);
    if (++state->digits < 4) return true;

    size_t count = 3 - state->padding;
    if (count > capacity - *len) return false;
    for (size_t i = 0; i < count; i++)
        out[(*len)++] = (uint8_t)(state->bits >> (16 - 8 * i));
    state->bits = state->digits = 0; /* padding stays: nothing may follow it */
    return true;
}

/* True if line is -----BORDER LABEL----- and nothing else. */
static bool is_border(const char *line, const char *border, const char *label) {
    size_t border_len = strlen(border), label_len = strlen(label);
    return strncmp(line, border, border_len) == 0 && strncmp(line + border_len, label, label_len) == 0 &&
           strcmp(line + border_len + label_len, "-----") == 0;
}

/* Reads a line without its end. Length -1: no more; *whole is false for a piece of a longer line. */
static int read_line(const kp_provider *provider, OSSL_CORE_BIO *bio, char line[LINE_MAX_BYTES],
                     bool *whole) {
    int len = provider->core.bio_gets(bio, line, LINE_MAX_BYTES);
    if (len <= 0) return -1;
    *whole = line[len - 1] == '\n';
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r' || line[len - 1] == ' '))
        len--;
    line[len] = '\0';
    return len;
}

static bool find_begin(const kp_provider *provider, OSSL_CORE_BIO *bio, const char *label) {
    char line[LINE_MAX_BYTES];
    bool starts_line = true, whole = true;
    while (read_line(provider, bio, line, &whole) >= 0) {
        if (starts_line && strncmp(line, "-----BEGIN ", 11) == 0)
            return is_border(line, "-----BEGIN ", label);
        starts_line = whole;
    }
    return false;
}

kp_pem kp_pem_read(const kp_provider *provider, OSSL_CORE_BIO *bio, const char *label, uint8_t *out,
                   size_t *out_len) {
    if (!find_begin(provider, bio, label)) return KP_PEM_OTHER;
    char line[LINE_MAX_BYTES];
    bool whole;
    base64_state state = {0};
    size_t len = 0;
    for (;;) {
        int line_len = read_line(provider, bio, line, &whole);
        if (line_len < 0) return KP_PEM_MALFORMED;
        if (is_border(line, "-----END ", label)) break;
        for (int i = 0; i < line_len; i++)
            if (!take_digit(&state, line[i], out, &len, *out_len)) return KP_PEM_MALFORMED;
    }
    if (state.digits != 0) return KP_PEM_MALFORMED;
    *out_len = len;
    return KP_PEM_READ;
}
