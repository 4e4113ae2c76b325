/* secretBytes, wipeSecret, readSecret, writeSecret: PINs as JavaScript holds them, and their way to a token
 * host. */
#define _DEFAULT_SOURCE /* explicit_bzero */
#include <errno.h>
#include <string.h>

#include "arena.h"
#include "exports.h"
#include "secret.h"

static void place_finalize(napi_env env, void *place, void *hint) {
    (void)env;
    (void)hint;
    ka_arena_return(place);
}

/* A Buffer over a place of the arena, which it owns from here on, also when this fails. */
static napi_value place_buffer(napi_env env, uint8_t *place, size_t len) {
    napi_value buffer = NULL;
    if (len == 0) {
        ka_arena_return(place);
        return napi_create_buffer(env, 0, NULL, &buffer) == napi_ok ? buffer : NULL;
    }
    if (napi_create_external_buffer(env, len, place, place_finalize, NULL, &buffer) == napi_ok) return buffer;
    ka_arena_return(place);
    return ka_throw_errno(env, ENOTSUP, "secret memory");
}

napi_value ka_secret_new(napi_env env, napi_callback_info info) {
    napi_value argument;
    int32_t len;
    uint8_t *place;

    if (!ka_arguments_get(env, info, 1, &argument) ||
        !ka_argument_integer(env, argument, "length", 0, KA_ARENA_PLACE, &len))
        return NULL;
    const int error = ka_arena_take(&place);
    return error == 0 ? place_buffer(env, place, (size_t)len) : ka_throw_errno(env, error, "secret memory");
}

napi_value ka_secret_wipe(napi_env env, napi_callback_info info) {
    napi_value argument;
    napi_value array_buffer;
    uint8_t *bytes;
    size_t len;

    if (!ka_arguments_get(env, info, 1, &argument) ||
        !ka_argument_bytes(env, argument, "secret", 0, SIZE_MAX, (const uint8_t **)&bytes, &len))
        return NULL;
    if (len == 0) return NULL;
    explicit_bzero(bytes, len);
    if (!ka_arena_holds(bytes)) return NULL;
    /* Its finalizer gives the place back: nothing of JavaScript's can reach it any more. */
    if (napi_get_typedarray_info(env, argument, NULL, NULL, NULL, &array_buffer, NULL) != napi_ok ||
        napi_detach_arraybuffer(env, array_buffer) != napi_ok)
        return ka_throw_errno(env, EINVAL, "wipe secret");
    return NULL;
}

napi_value ka_secret_from_fd(napi_env env, napi_callback_info info) {
    napi_value argument;
    int32_t fd;
    uint8_t *place;
    size_t len;

    if (!ka_arguments_get(env, info, 1, &argument) ||
        !ka_argument_integer(env, argument, "fd", 0, INT32_MAX, &fd))
        return NULL;
    const int error = ka_secret_read(fd, &place, &len);
    return error == 0 ? place_buffer(env, place, len) : ka_throw_errno(env, error, "read secret");
}

napi_value ka_secret_to_fd(napi_env env, napi_callback_info info) {
    napi_value arguments[2];
    int32_t fd;
    const uint8_t *secret;
    size_t len;

    if (!ka_arguments_get(env, info, 2, arguments) ||
        !ka_argument_integer(env, arguments[0], "fd", 0, INT32_MAX, &fd) ||
        !ka_argument_bytes(env, arguments[1], "secret", 0, KA_SECRET_MAX, &secret, &len))
        return NULL;
    const int error = ka_secret_write(fd, secret, len);
    return error == 0 ? NULL : ka_throw_errno(env, error, "write secret");
}
