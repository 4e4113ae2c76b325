/* signInit, decryptInit, sign, signAside, decryptAside: the calls that make one operation of PKCS#11, in one
 * step, on this thread or on one of libuv's pool (PKCS#11 v2.40 C_SignInit, C_Sign, C_DecryptInit,
 * C_Decrypt). */
#define _DEFAULT_SOURCE /* explicit_bzero, clock_gettime */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "exports.h"
#include "module.h"

enum {
    /* The type, and CK_RSA_PKCS_OAEP_PARAMS, the longest parameter */
    MECHANISM_WORDS = 6,
    /* host-protocol.ts: hostFrameMax */
    INPUT_MAX = 8 << 20,
    /* RSA of 16,384 bits */
    OUTPUT_MAX = 2048,
};

enum use { SIGN, DECRYPT };

_Static_assert(sizeof(CK_ULONG) == 8, "JavaScript makes a mechanism of words of 8 bytes");

struct beginning {
    CK_RV (*init)(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key);
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    CK_ULONG mechanism[MECHANISM_WORDS];
    size_t mechanism_len;
};

struct operation {
    struct beginning beginning;
    bool is_begun;
    CK_RV(*finish)
    (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len);
    CK_RV rv;
    /* The module says that it wrote beyond the end */
    bool overran;
    double microseconds;
    napi_async_work work;
    napi_deferred deferred;
    CK_ULONG out_len;
    CK_BYTE out[OUTPUT_MAX];
    size_t in_len;
    CK_BYTE in[];
};

static CK_RV begin(struct beginning *beginning) {
    CK_ULONG *words = beginning->mechanism;
    const CK_ULONG parameter_len = beginning->mechanism_len - sizeof words[0];
    CK_MECHANISM mechanism = {words[0], parameter_len == 0 ? NULL : &words[1], parameter_len};
    return beginning->init(beginning->session, &mechanism, beginning->key);
}

static CK_RV finish(struct operation *operation) {
    const CK_ULONG capacity = operation->out_len;
    const CK_RV rv = operation->finish(operation->beginning.session, operation->in, operation->in_len,
                                       operation->out, &operation->out_len);
    operation->overran = rv == CKR_OK && operation->out_len > capacity;
    return rv;
}

static double now_microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void run(struct operation *operation) {
    const double started = now_microseconds();
    operation->rv = operation->is_begun ? CKR_OK : begin(&operation->beginning);
    if (operation->rv == CKR_OK) operation->rv = finish(operation);
    operation->microseconds = now_microseconds() - started;
}

static void operation_free(struct operation *operation) {
    explicit_bzero(operation, sizeof *operation + operation->in_len);
    free(operation);
}

/* session, mechanism, key */
static bool argument_beginning(napi_env env, const napi_value *arguments, struct beginning *beginning) {
    const uint8_t *mechanism;
    if (!ka_argument_handle(env, arguments[0], "session", &beginning->session) ||
        !ka_argument_bytes(env, arguments[1], "mechanism", sizeof beginning->mechanism[0],
                           sizeof beginning->mechanism, &mechanism, &beginning->mechanism_len) ||
        !ka_argument_handle(env, arguments[2], "key", &beginning->key))
        return false;
    if (beginning->mechanism_len % sizeof beginning->mechanism[0] != 0) {
        napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "mechanism must be words of 8 bytes");
        return false;
    }
    memcpy(beginning->mechanism, mechanism, beginning->mechanism_len);
    return true;
}

static bool is_null(napi_env env, napi_value value) {
    napi_valuetype type;
    return napi_typeof(env, value, &type) == napi_ok && type == napi_null;
}

/* session, mechanism, key, input, outputLength */
static bool argument_operation(napi_env env, const napi_value *arguments, struct operation *operation) {
    int32_t out_len;
    operation->is_begun = is_null(env, arguments[1]) && is_null(env, arguments[2]);
    const bool good = operation->is_begun
                          ? ka_argument_handle(env, arguments[0], "session", &operation->beginning.session)
                          : argument_beginning(env, arguments, &operation->beginning);
    if (!good || !ka_argument_integer(env, arguments[4], "outputLength", 1, OUTPUT_MAX, &out_len))
        return false;
    operation->out_len = (CK_ULONG)out_len;
    return true;
}

/* module, then as argument_operation. @return NULL with an exception pending */
static struct operation *operation_new(napi_env env, napi_callback_info info, enum use use) {
    napi_value arguments[6];
    const CK_FUNCTION_LIST *functions;
    const uint8_t *in;
    size_t in_len;

    if (!ka_arguments_get(env, info, 6, arguments) || !ka_argument_module(env, arguments[0], &functions) ||
        !ka_argument_bytes(env, arguments[4], "input", 0, INPUT_MAX, &in, &in_len))
        return NULL;
    struct operation *operation = calloc(1, sizeof *operation + in_len);
    if (operation == NULL) {
        ka_throw_errno(env, ENOMEM, "operation");
        return NULL;
    }
    /* Never a pointer to NULL, which modules take for an error, also of no bytes. */
    memcpy(operation->in, in, in_len);
    operation->in_len = in_len;
    operation->beginning.init = use == SIGN ? functions->C_SignInit : functions->C_DecryptInit;
    operation->finish = use == SIGN ? functions->C_Sign : functions->C_Decrypt;
    if (argument_operation(env, &arguments[1], operation)) return operation;
    operation_free(operation);
    return NULL;
}

static napi_value rv_new(napi_env env, CK_RV rv) {
    napi_value result;
    return napi_create_double(env, (double)rv, &result) == napi_ok ? result : NULL;
}

/* @return the result, null if it cannot be, or the CK_RV */
static napi_value result_new(napi_env env, const struct operation *operation) {
    napi_value result;
    if (operation->rv != CKR_OK) return rv_new(env, operation->rv);
    const napi_status status =
        operation->overran ? napi_get_null(env, &result)
                           : napi_create_buffer_copy(env, operation->out_len, operation->out, NULL, &result);
    return status == napi_ok ? result : NULL;
}

/* @return [as above, microseconds]; NULL with an exception pending */
static napi_value outcome(napi_env env, const struct operation *operation) {
    napi_value microseconds;
    napi_value pair;
    napi_value result = result_new(env, operation);
    if (result == NULL || napi_create_double(env, operation->microseconds, &microseconds) != napi_ok ||
        napi_create_array_with_length(env, 2, &pair) != napi_ok ||
        napi_set_element(env, pair, 0, result) != napi_ok ||
        napi_set_element(env, pair, 1, microseconds) != napi_ok)
        return ka_throw_errno(env, ENOMEM, "result");
    return pair;
}

static void operation_execute(napi_env env, void *data) {
    (void)env;
    run(data);
}

static void operation_complete(napi_env env, napi_status status, void *data) {
    struct operation *operation = data;
    napi_value result =
        status == napi_ok ? outcome(env, operation) : ka_throw_errno(env, ECANCELED, "operation");
    napi_value error;
    if (result != NULL)
        napi_resolve_deferred(env, operation->deferred, result);
    else if (napi_get_and_clear_last_exception(env, &error) == napi_ok)
        napi_reject_deferred(env, operation->deferred, error);
    napi_delete_async_work(env, operation->work);
    operation_free(operation);
}

static napi_value operate_aside(napi_env env, napi_callback_info info, enum use use) {
    napi_value name;
    napi_value promise;
    struct operation *operation = operation_new(env, info, use);
    if (operation == NULL) return NULL;
    if (napi_create_string_latin1(env, "PKCS#11", NAPI_AUTO_LENGTH, &name) == napi_ok &&
        napi_create_promise(env, &operation->deferred, &promise) == napi_ok &&
        napi_create_async_work(env, NULL, name, operation_execute, operation_complete, operation,
                               &operation->work) == napi_ok) {
        if (napi_queue_async_work(env, operation->work) == napi_ok) return promise;
        napi_delete_async_work(env, operation->work);
    }
    operation_free(operation);
    return ka_throw_errno(env, EAGAIN, "operation");
}

/* module, session, mechanism, key */
static napi_value begin_only(napi_env env, napi_callback_info info, enum use use) {
    napi_value arguments[4];
    const CK_FUNCTION_LIST *functions;
    struct beginning beginning;

    if (!ka_arguments_get(env, info, 4, arguments) || !ka_argument_module(env, arguments[0], &functions) ||
        !argument_beginning(env, &arguments[1], &beginning))
        return NULL;
    beginning.init = use == SIGN ? functions->C_SignInit : functions->C_DecryptInit;
    return rv_new(env, begin(&beginning));
}

napi_value ka_sign_init(napi_env env, napi_callback_info info) {
    return begin_only(env, info, SIGN);
}

napi_value ka_decrypt_init(napi_env env, napi_callback_info info) {
    return begin_only(env, info, DECRYPT);
}

napi_value ka_sign(napi_env env, napi_callback_info info) {
    struct operation *operation = operation_new(env, info, SIGN);
    if (operation == NULL) return NULL;
    run(operation);
    napi_value result = outcome(env, operation);
    operation_free(operation);
    return result;
}

napi_value ka_sign_aside(napi_env env, napi_callback_info info) {
    return operate_aside(env, info, SIGN);
}

napi_value ka_decrypt_aside(napi_env env, napi_callback_info info) {
    return operate_aside(env, info, DECRYPT);
}
