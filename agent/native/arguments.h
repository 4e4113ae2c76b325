/* Takes JavaScript arguments apart. Every function returns false with a JavaScript exception pending when the
 * argument is not what the caller said it must be. */
#ifndef KA_ARGUMENTS_H
#define KA_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAPI_VERSION 8
#include <node_api.h>

enum { KA_ARGUMENTS_MAX = 6 };

/** Exactly `count` arguments, at most KA_ARGUMENTS_MAX. */
bool ka_arguments_get(napi_env env, napi_callback_info info, size_t count, napi_value *values);

/** An integer of min..max. */
bool ka_argument_integer(napi_env env, napi_value value, const char *name, int32_t min, int32_t max,
                         int32_t *out);

/** A Uint8Array (a Buffer is one) of min_len..max_len bytes. `data` belongs to the JavaScript object and is
 *  never NULL. */
bool ka_argument_bytes(napi_env env, napi_value value, const char *name, size_t min_len, size_t max_len,
                       const uint8_t **data, size_t *len);

/** A string that fits into `capacity` bytes with its NUL, and holds none itself. */
bool ka_argument_string(napi_env env, napi_value value, const char *name, char *out, size_t capacity);

/** Throws an Error whose `code` is the errno's name. @return NULL */
napi_value ka_throw_errno(napi_env env, int error, const char *what);

/** An Error whose `code` is the errno's name, for a rejected promise. */
napi_value ka_error_new(napi_env env, int error, const char *what);

#endif
