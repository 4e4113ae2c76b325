/* Names of statuses, from the error table of the protocol, which keyagent.h is held against here. */
#include "keyagent.h"
#include "protocol_gen.h"

#define SAME_NUMBER(name, number, retryable)                                                                 \
    _Static_assert(KA_ERR_##name == -(number), "keyagent.h and the error table differ in " #name);
KA_WIRE_ERROR_TABLE(SAME_NUMBER)

_Static_assert(KA_MESSAGE_MAX == KA_WIRE_LIMIT_MESSAGE, "keyagent.h and the limits differ");

const char *ka_status_name(ka_status status) {
#define NAME(name, number, retryable)                                                                        \
    case -(number):                                                                                          \
        return #name;
    switch (status) {
    case KA_OK:
        return "OK";
    case KA_PENDING:
        return "PENDING";
        KA_WIRE_ERROR_TABLE(NAME)
    default:
        return "UNKNOWN";
    }
}
