/* Error texts, see error.h. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

/* A control character in what the agent or a path says would let it forge lines of a log or drive a terminal.
 * C0 and DEL are one byte; C1 is 0xc2 0x80..0x9f in UTF-8. A path need not be UTF-8 and a cut may have split
 * a character: then only ASCII stays. */
static ka_status finish(ka_error *err, ka_status code) {
    bool ascii_only = !ka_utf8_valid((const uint8_t *)err->message, strlen(err->message));
    for (unsigned char *at = (unsigned char *)err->message; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7f) *at = ' ';
        if (*at >= 0x80 && ascii_only) *at = '?';
        if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f) at[0] = at[1] = ' ';
    }
    err->code = code;
    return code;
}

__attribute__((format(printf, 2, 0))) static void format_message(ka_error *err, const char *format,
                                                                 va_list args) {
    if (vsnprintf(err->message, sizeof err->message, format, args) < 0) err->message[0] = '\0';
}

ka_status ka_error_set(ka_error *err, ka_status code, const char *format, ...) {
    if (err == NULL) return code;
    va_list args;
    va_start(args, format);
    format_message(err, format, args);
    va_end(args);
    return finish(err, code);
}

ka_status ka_error_set_errno(ka_error *err, ka_status code, const char *format, ...) {
    int number = errno;
    if (err == NULL) return code;
    va_list args;
    va_start(args, format);
    format_message(err, format, args);
    va_end(args);
    char text[128];
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", strerror_r(number, text, sizeof text));
    return finish(err, code);
}

/* Appends what is not there yet and fits whole. */
static void append(char *message, size_t cap, const char *separator, struct ka_span text) {
    size_t used = strlen(message);
    if (memmem(message, used, text.data, text.len) != NULL) return;
    if (strlen(separator) + text.len >= cap - used) return;
    snprintf(message + used, cap - used, "%s%.*s", separator, (int)text.len, (const char *)text.data);
}

ka_status ka_error_set_reply(ka_error *err, ka_status code, struct ka_span text,
                             const struct ka_span *candidates, size_t count) {
    if (err == NULL) return code;
    /* A str may hold NUL: the text then ends there. */
    size_t len = ka_utf8_prefix(text.data, text.len, sizeof err->message - 1);
    snprintf(err->message, sizeof err->message, "%.*s", (int)len, (const char *)text.data);
    for (size_t i = 0; i < count; i++)
        append(err->message, sizeof err->message, i == 0 ? ": " : ", ", candidates[i]);
    return finish(err, code);
}
