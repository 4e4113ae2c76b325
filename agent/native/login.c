/* login: C_Login on a thread of libuv's pool, with a PIN, or with a NULL PIN for a protected authentication
 * path (PKCS#11 v2.40 C_Login). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exports.h"
#include "module.h"
#include "secret.h"

struct ka_login {
    napi_async_work work;
    napi_deferred deferred;
    const CK_FUNCTION_LIST *functions;
    CK_SESSION_HANDLE session;
    CK_ULONG user;
    /* Keeps the PIN's memory while the call runs; NULL: no PIN */
    napi_ref pin_ref;
    const uint8_t *pin;
    size_t pin_len;
    CK_RV rv;
};

static void login_free(napi_env env, struct ka_login *login) {
    if (login->work != NULL) napi_delete_async_work(env, login->work);
    if (login->pin_ref != NULL) napi_delete_reference(env, login->pin_ref);
    free(login);
}

static void login_execute(napi_env env, void *data) {
    (void)env;
    struct ka_login *login = data;
    login->rv = login->functions->C_Login(login->session, login->user, login->pin, login->pin_len);
}

static void login_complete(napi_env env, napi_status status, void *data) {
    struct ka_login *login = data;
    napi_value result = NULL;
    if (status != napi_ok)
        napi_reject_deferred(env, login->deferred, ka_error_new(env, ECANCELED, "login"));
    else if (napi_create_double(env, (double)login->rv, &result) == napi_ok)
        napi_resolve_deferred(env, login->deferred, result);
    login_free(env, login);
}

static bool pin_argument(napi_env env, napi_value value, struct ka_login *login) {
    napi_valuetype type;
    if (napi_typeof(env, value, &type) == napi_ok && type == napi_null) return true;
    return ka_argument_bytes(env, value, "pin", 0, KA_SECRET_MAX, &login->pin, &login->pin_len) &&
           napi_create_reference(env, value, 1, &login->pin_ref) == napi_ok;
}

static bool login_arguments(napi_env env, napi_callback_info info, struct ka_login *login) {
    napi_value arguments[4];
    int32_t user;

    if (!ka_arguments_get(env, info, 4, arguments) ||
        !ka_argument_module(env, arguments[0], &login->functions) ||
        !ka_argument_handle(env, arguments[1], "session", &login->session) ||
        !ka_argument_integer(env, arguments[2], "user", CKU_USER, CKU_CONTEXT_SPECIFIC, &user) ||
        !pin_argument(env, arguments[3], login))
        return false;
    login->user = (CK_ULONG)user;
    return true;
}

napi_value ka_login(napi_env env, napi_callback_info info) {
    napi_value name;
    napi_value promise = NULL;
    struct ka_login *login = calloc(1, sizeof *login);
    if (login == NULL) return ka_throw_errno(env, ENOMEM, "login");

    if (!login_arguments(env, info, login)) goto out;
    if (napi_create_string_utf8(env, "C_Login", NAPI_AUTO_LENGTH, &name) != napi_ok ||
        napi_create_promise(env, &login->deferred, &promise) != napi_ok ||
        napi_create_async_work(env, NULL, name, login_execute, login_complete, login, &login->work) !=
            napi_ok ||
        napi_queue_async_work(env, login->work) != napi_ok) {
        promise = ka_throw_errno(env, EAGAIN, "login");
        goto out;
    }
    return promise;
out:
    login_free(env, login);
    return promise;
}
