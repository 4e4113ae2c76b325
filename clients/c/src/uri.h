/* What a client checks about a key's URI before it sends it; the agent parses it (PROTOCOL.md "URIs"). */
#ifndef KEYAGENT_URI_H
#define KEYAGENT_URI_H

#include "reader.h"

/* KA_OK; KA_ERR_TOO_LARGE; KA_ERR_INVALID (not UTF-8, or with a query attribute that would tell the agent
 * where a PIN or a module comes from). Error texts do not quote the URI: it may hold a PIN. */
KA_MUSTUSE ka_status ka_uri_check(struct ka_span uri, ka_error *err);

#endif
