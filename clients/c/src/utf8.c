/* UTF-8 validation, see utf8.h. The ranges of the second byte are those of RFC 3629 section 4. */
#include "utf8.h"

static bool is_tail(uint8_t byte) {
    return (byte & 0xc0) == 0x80;
}

/* Length of the character that starts at text, 0 if there is none. */
static size_t character_length(const uint8_t *text, size_t len) {
    uint8_t lead = text[0];
    if (lead <= 0x7f) return 1;
    if (lead >= 0xc2 && lead <= 0xdf) return len >= 2 && is_tail(text[1]) ? 2 : 0;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (len < 3 || !is_tail(text[1]) || !is_tail(text[2])) return 0;
        if (lead == 0xe0 && text[1] < 0xa0) return 0; /* longer than needed */
        if (lead == 0xed && text[1] > 0x9f) return 0; /* surrogates */
        return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (len < 4 || !is_tail(text[1]) || !is_tail(text[2]) || !is_tail(text[3])) return 0;
        if (lead == 0xf0 && text[1] < 0x90) return 0; /* longer than needed */
        if (lead == 0xf4 && text[1] > 0x8f) return 0; /* beyond U+10FFFF */
        return 4;
    }
    return 0;
}

bool ka_utf8_valid(const uint8_t *text, size_t len) {
    for (size_t at = 0; at < len;) {
        size_t step = character_length(text + at, len - at);
        if (step == 0) return false;
        at += step;
    }
    return true;
}

bool ka_str_valid(const uint8_t *text, size_t len) {
    bool has_mark = len >= 3 && text[0] == 0xef && text[1] == 0xbb && text[2] == 0xbf;
    return !has_mark && ka_utf8_valid(text, len);
}

size_t ka_utf8_prefix(const uint8_t *text, size_t len, size_t max) {
    if (len <= max) return len;
    while (max > 0 && is_tail(text[max]))
        max--;
    return max;
}
