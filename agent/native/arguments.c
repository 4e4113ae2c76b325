#define _GNU_SOURCE /* strerrorname_np */
#include "arguments.h"

#include <stdio.h>
#include <string.h>

static bool refuse(napi_env env, const char *name, const char *requirement) {
    char message[160];
    snprintf(message, sizeof message, "%s must be %s", name, requirement);
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
    return false;
}

static bool refuse_range(napi_env env, const char *name, const char *unit, long min, long max) {
    char message[160];
    if (min == max)
        snprintf(message, sizeof message, "%s must be %ld%s", name, min, unit);
    else
        snprintf(message, sizeof message, "%s must be %ld..%ld%s", name, min, max, unit);
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message);
    return false;
}

bool ka_arguments_get(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
    size_t given = KA_ARGUMENTS_MAX;
    napi_value all[KA_ARGUMENTS_MAX];
    if (napi_get_cb_info(env, info, &given, all, NULL, NULL) != napi_ok)
        return refuse(env, "arguments", "readable");
    if (given != count) return refuse(env, "arguments", "as many as the function has");
    if (count > 0) memcpy(values, all, count * sizeof *values);
    return true;
}

bool ka_argument_integer(napi_env env, napi_value value, const char *name, int32_t min, int32_t max,
                         int32_t *out) {
    double number;
    if (napi_get_value_double(env, value, &number) != napi_ok) return refuse(env, name, "a number");
    if (!(number >= min && number <= max) || number != (double)(int32_t)number)
        return refuse_range(env, name, "", min, max);
    *out = (int32_t)number;
    return true;
}

bool ka_argument_bytes(napi_env env, napi_value value, const char *name, size_t min_len, size_t max_len,
                       const uint8_t **data, size_t *len) {
    static const uint8_t nothing[1];
    bool is_typedarray = false;
    napi_typedarray_type type;
    void *bytes = NULL;
    if (napi_is_typedarray(env, value, &is_typedarray) != napi_ok || !is_typedarray)
        return refuse(env, name, "a Uint8Array");
    if (napi_get_typedarray_info(env, value, &type, len, &bytes, NULL, NULL) != napi_ok ||
        type != napi_uint8_array)
        return refuse(env, name, "a Uint8Array");
    if (*len < min_len || *len > max_len)
        return refuse_range(env, name, " bytes", (long)min_len, (long)max_len);
    *data = bytes == NULL ? nothing : bytes;
    return true;
}

bool ka_argument_string(napi_env env, napi_value value, const char *name, char *out, size_t capacity) {
    size_t len = 0;
    if (napi_get_value_string_utf8(env, value, NULL, 0, &len) != napi_ok)
        return refuse(env, name, "a string");
    if (len + 1 > capacity) return refuse_range(env, name, " bytes", 0, (long)capacity - 1);
    if (napi_get_value_string_utf8(env, value, out, capacity, &len) != napi_ok)
        return refuse(env, name, "a string");
    if (strlen(out) != len) return refuse(env, name, "free of NUL characters");
    return true;
}

static const char *describe(int error, const char *what, char *message, size_t capacity) {
    const char *code = strerrorname_np(error);
    snprintf(message, capacity, "%s: %s", what, strerror(error));
    return code == NULL ? "EUNKNOWN" : code;
}

napi_value ka_throw_errno(napi_env env, int error, const char *what) {
    char message[256];
    const char *code = describe(error, what, message, sizeof message);
    napi_throw_error(env, code, message);
    return NULL;
}

napi_value ka_error_new(napi_env env, int error, const char *what) {
    char message[256];
    napi_value code_value = NULL;
    napi_value message_value = NULL;
    napi_value result = NULL;
    const char *code = describe(error, what, message, sizeof message);
    if (napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &code_value) == napi_ok &&
        napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &message_value) == napi_ok)
        napi_create_error(env, code_value, message_value, &result);
    return result;
}
