/*
 * A ka_status on libcrypto's error queue. The reason number is the negated status; its string is what server
 * logs show first, so it names the cause; the text after it says what to do.
 */
#include <stdarg.h>
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
