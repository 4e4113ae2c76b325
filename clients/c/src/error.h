/* Fills in a ka_error. Its text may end in a server's log: one line without control characters. */
#ifndef KEYAGENT_ERROR_H
#define KEYAGENT_ERROR_H

#include "reader.h"

/* Writes code and text to err unless it is NULL; returns code. */
__attribute__((format(printf, 3, 4))) ka_status ka_error_set(ka_error *err, ka_status code,
                                                             const char *format, ...);
/* As above; ": " and the text of errno follow. */
__attribute__((format(printf, 3, 4))) ka_status ka_error_set_errno(ka_error *err, ka_status code,
                                                                   const char *format, ...);
/* An error reply: `text` and `candidates` as the agent sent them, valid UTF-8. Candidates follow
 * unless the text names them; those that do not fit are left out whole. */
ka_status ka_error_set_reply(ka_error *err, ka_status code, struct ka_span text,
                             const struct ka_span *candidates, size_t count);

#endif
