/* Who this process is to the agent, which judges a connection by what the kernel says of who opened it. */
#ifndef KEYAGENT_IDENTITY_H
#define KEYAGENT_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ka_identity {
    uid_t euid;
    gid_t egid;
    int group_count; /* -1: too many to compare */
    uint64_t groups; /* a hash of the supplementary groups */
};

struct ka_identity ka_identity_now(void);
bool ka_identity_equal(const struct ka_identity *a, const struct ka_identity *b);

#endif
