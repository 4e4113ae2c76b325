/* URI checks, see uri.h. Query attributes: RFC 7512 2.3, "?name=value&name=value". */
#include "uri.h"

#include <string.h>

#include "error.h"
#include "protocol_gen.h"
#include "utf8.h"

static const char *const refused[] = {"pin-value", "pin-source", "module-name", "module-path"};

/* The refused attribute that text, up to `end`, begins with; else NULL. */
static const char *refused_at(const uint8_t *text, const uint8_t *end) {
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        size_t len = strlen(refused[i]);
        if ((size_t)(end - text) >= len && memcmp(text, refused[i], len) == 0 &&
            (text + len == end || text[len] == '=' || text[len] == '&'))
            return refused[i];
    }
    return NULL;
}

ka_status ka_uri_check(struct ka_span uri, ka_error *err) {
    const uint8_t *end = uri.data + uri.len;
    if (uri.len > KA_WIRE_MAX_KEY_PARAMS_URI)
        return ka_error_set(err, KA_ERR_TOO_LARGE, "a key's URI has at most %u bytes",
                            KA_WIRE_MAX_KEY_PARAMS_URI);
    if (!ka_str_valid(uri.data, uri.len)) return ka_error_set(err, KA_ERR_INVALID, "a key's URI is UTF-8");
    for (const uint8_t *at = memchr(uri.data, '?', uri.len); at != NULL;
         at = memchr(at + 1, '&', (size_t)(end - at - 1))) {
        const char *name = refused_at(at + 1, end);
        if (name != NULL)
            return ka_error_set(err, KA_ERR_INVALID,
                                "a key's URI may not say %s; the agent's configuration does", name);
    }
    return KA_OK;
}
