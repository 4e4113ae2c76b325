/*
 * A ka_status on libcrypto's error queue. The reason number is the negated status; its string is what server
 * logs show first, so it names the cause; the text after it says what to do.
 */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "provider.h"

#define REASON(status, text)                                                                                 \
    { (unsigned)-(status), (void *)(text) }

const OSSL_ITEM *kp_error_reasons(void) {
    static const OSSL_ITEM reasons[] = {
        REASON(KA_ERR_MALFORMED, "MALFORMED"),
        REASON(KA_ERR_UNSUPPORTED, "UNSUPPORTED"),
        REASON(KA_ERR_INVALID, "INVALID"),
        REASON(KA_ERR_TOO_LARGE, "TOO LARGE"),
        REASON(KA_ERR_DENIED, "DENIED"),
        REASON(KA_ERR_NOT_FOUND, "NOT FOUND"),
        REASON(KA_ERR_AMBIGUOUS, "AMBIGUOUS"),
        REASON(KA_ERR_LOCKED, "LOCKED"),
        REASON(KA_ERR_BUSY, "BUSY"),
        REASON(KA_ERR_TIMEOUT, "TIMEOUT"),
        REASON(KA_ERR_CANCELLED, "CANCELLED"),
        REASON(KA_ERR_MECHANISM, "MECHANISM NOT AVAILABLE"),
        REASON(KA_ERR_KEY_MISMATCH, "KEY MISMATCH"),
        REASON(KA_ERR_DECRYPT_FAILED, "DECRYPT FAILED"),
        REASON(KA_ERR_TOKEN_ABSENT, "TOKEN ABSENT"),
        REASON(KA_ERR_TOKEN_ERROR, "TOKEN ERROR"),
        REASON(KA_ERR_INTERNAL, "INTERNAL ERROR"),
        REASON(KA_ERR_STOPPING, "AGENT STOPPING"),
        REASON(KA_ERR_UNAVAILABLE, "AGENT UNAVAILABLE"),
        REASON(KA_ERR_UNTRUSTED, "AGENT UNTRUSTED"),
        REASON(KA_ERR_BUFFER, "BUFFER TOO SMALL"),
        REASON(KA_ERR_NO_MEMORY, "NO MEMORY"),
        {0, NULL},
    };
    return reasons;
}

void kp_error_raise(const kp_provider *provider, ka_status status, const char *file, int line,
                    const char *function, const char *format, ...) {
    const kp_core *core = &provider->core;
    va_list arguments;
    va_start(arguments, format);
    core->new_error(core->handle);
    core->set_error_debug(core->handle, file, line, function);
    core->vset_error(core->handle, (uint32_t)-status, format, arguments);
    va_end(arguments);
}

static const char *reason_of(ka_status status) {
    for (const OSSL_ITEM *reason = kp_error_reasons(); reason->ptr != NULL; reason++)
        if (reason->id == (unsigned)-status) return reason->ptr;
    return "ERROR";
}

/* One write, so that lines of several processes do not mix; no control characters, so that a line stays one.
 */
void kp_error_log(const kp_provider *provider, ka_status status, const char *format, ...) {
    if (!provider->logs) return;
    char line[sizeof(((ka_error *)NULL)->message) + 64];
    size_t len = (size_t)snprintf(line, 48, "keyagent: %s: ", reason_of(status));
    va_list arguments;
    va_start(arguments, format);
    int text_len = vsnprintf(line + len, sizeof(line) - len - 1, format, arguments);
    va_end(arguments);
    if (text_len < 0) return;
    size_t room = sizeof(line) - len - 2;
    len += (size_t)text_len < room ? (size_t)text_len : room;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = '?';
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* there is nowhere left to say so */
}
