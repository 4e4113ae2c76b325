/*
 * One call of the agent: a connection, a request, a reply, and the one repeat (PROTOCOL.md "Deadlines,
 * cancelling, repeating"). It goes on as far as it can without waiting, and then says what it waits for; who
 * may block waits with ka_call_run.
 */
#ifndef KEYAGENT_CALL_H
#define KEYAGENT_CALL_H

#include "client.h"
#include "deadline.h"

struct ka_key;

struct ka_call {
    struct ka_client *client;
    const struct ka_key *key; /* NULL: asks for one */
    struct ka_params params;
    struct ka_deadline deadline;
    uint32_t generation;              /* the process that began it */
    struct ka_connection *connection; /* of the pool; NULL: between two attempts */
    bool was_open;                    /* this attempt began on an idle connection */
    bool repeat;                      /* an attempt was lost that the agent may have seen */
    struct ka_exchange exchange;
    struct ka_reply reply;
};

/* Nothing is sent yet. The call borrows all it is given. `key` is what sign and decrypt ask. */
void ka_call_begin(struct ka_call *call, struct ka_client *client, const struct ka_key *key,
                   const struct ka_params *params);
/* KA_OK: `reply` is the result, can be true, and points into the call. KA_PENDING: wait for ka_call_events on
 * ka_call_fd, at most ka_call_timeout_ms, and come again. Anything else: the agent's error or one of this
 * side. The call holds no connection then. */
KA_MUSTUSE ka_status ka_call_continue(struct ka_call *call, ka_error *err);
/* As above, and waits. */
KA_MUSTUSE ka_status ka_call_run(struct ka_call *call, ka_error *err);
/* Gives up what is not finished. The agent sees the connection end and cancels the request. */
void ka_call_abandon(struct ka_call *call);

/* -1: there is nothing to watch, only the time. */
int ka_call_fd(const struct ka_call *call);
short ka_call_events(const struct ka_call *call);
int ka_call_timeout_ms(const struct ka_call *call);

#endif
