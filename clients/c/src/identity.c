/* Identities, see identity.h. */
#include "identity.h"

#include <unistd.h>

/* A Windows domain's limit for one user is 1015. */
enum { GROUPS_MAX = 1024 };

/* FNV-1a. It need not resist anybody: who may choose a process's groups may use any of them anyway. */
static uint64_t hash_groups(const gid_t *groups, int count) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int i = 0; i < count; i++)
        hash = (hash ^ groups[i]) * UINT64_C(0x100000001b3);
    return hash;
}

struct ka_identity ka_identity_now(void) {
    gid_t groups[GROUPS_MAX];
    int count = getgroups(GROUPS_MAX, groups); /* the kernel keeps them sorted */
    return (struct ka_identity){geteuid(), getegid(), count, hash_groups(groups, count)};
}

bool ka_identity_equal(const struct ka_identity *a, const struct ka_identity *b) {
    return a->euid == b->euid && a->egid == b->egid && a->group_count == b->group_count &&
           a->groups == b->groups;
}
