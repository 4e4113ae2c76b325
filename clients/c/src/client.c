/* ka_client: its life and its path. Asking the agent: call.c. */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"
#include "guard.h"

static const char system_socket[] = "/run/keyagent/agent.sock";
static const uint32_t default_timeout_ms = 10000;

static ka_status set_path(char out[KA_PATH_SIZE], const char *path, ka_error *err) {
    if (path[0] != '/')
        return ka_error_set(err, KA_ERR_INVALID, "the socket's path \"%s\" is not absolute", path);
    if (strlen(path) >= KA_PATH_SIZE)
        return ka_error_set(err, KA_ERR_INVALID, "the socket's path is longer than %zu bytes",
                            KA_PATH_SIZE - 1);
    memcpy(out, path, strlen(path) + 1);
    return KA_OK;
}

/* secure_getenv: whoever starts a set-user-ID program must not choose the agent that it believes. */
static ka_status find_paths(struct ka_client *client, const char *path, ka_error *err) {
    if (path == NULL) path = secure_getenv("KEYAGENT_SOCK");
    if (path != NULL) return set_path(client->path, path, err);
    const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
    if (runtime != NULL && runtime[0] == '/') {
        int len = snprintf(client->fallback, sizeof client->fallback, "%s/keyagent/agent.sock", runtime);
        if (len < 0 || (size_t)len >= sizeof client->fallback) client->fallback[0] = '\0';
    }
    return set_path(client->path, system_socket, err);
}

ka_status ka_client_new(const char *socket_path, ka_client **out, ka_error *err) {
    struct ka_client *client = calloc(1, sizeof *client);
    if (client == NULL) return ka_error_set(err, KA_ERR_NO_MEMORY, "no memory for a client");
    ka_status status = find_paths(client, socket_path, err);
    if (status == KA_OK && ka_pool_init(&client->pool) != KA_OK)
        status = ka_error_set(err, KA_ERR_NO_MEMORY, "no memory for a client");
    if (status != KA_OK) {
        free(client);
        return status;
    }
    atomic_init(&client->owners, 1);
    atomic_init(&client->timeout_ms, default_timeout_ms);
    *out = client;
    return KA_OK;
}

struct ka_client *ka_client_ref(struct ka_client *client) {
    atomic_fetch_add(&client->owners, 1);
    return client;
}

void ka_client_free(ka_client *client) {
    if (client == NULL || atomic_fetch_sub(&client->owners, 1) != 1) return;
    struct ka_guard guard = ka_guard_enter();
    ka_pool_clear(&client->pool);
    ka_guard_leave(&guard);
    free(client);
}

ka_status ka_client_set_timeout(ka_client *client, uint32_t timeout_ms) {
    if (timeout_ms == 0) return KA_ERR_INVALID;
    atomic_store(&client->timeout_ms, timeout_ms);
    return KA_OK;
}

const char *ka_client_socket_path(const ka_client *client) {
    struct stat at;
    bool use_fallback = client->fallback[0] != '\0' && lstat(client->path, &at) != 0;
    return use_fallback ? client->fallback : client->path;
}
