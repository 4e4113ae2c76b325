/* login: C_Login on a thread of libuv's pool, with a PIN that never becomes a JavaScript value, or with a
 * NULL PIN for a protected authentication path (PKCS#11 v2.40 C_Login). */
#define _DEFAULT_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "exports.h"
#include "pkcs11_abi.h"
#include "secret.h"

struct ka_login {
    napi_async_work work;
    napi_deferred deferred;
    void *module;
    const CK_FUNCTION_LIST *functions;
    CK_SESSION_HANDLE session;
    /* -1: no PIN */
    int pin_fd;
    /* errno of reading the PIN; 0: C_Login was called and rv is its result */
    int error;
    CK_RV rv;
};

static void login_free(napi_env env, struct ka_login *login) {
    if (login->work != NULL) napi_delete_async_work(env, login->work);
    if (login->module != NULL) dlclose(login->module);
    free(login);
}

static void login_execute(napi_env env, void *data) {
    (void)env;
    struct ka_login *login = data;
    struct ka_secret pin = {NULL, 0};
    if (login->pin_fd >= 0) login->error = ka_secret_read(login->pin_fd, &pin);
    if (login->error == 0) login->rv = login->functions->C_Login(login->session, CKU_USER, pin.data, pin.len);
    ka_secret_free(&pin);
}

static void login_complete(napi_env env, napi_status status, void *data) {
    struct ka_login *login = data;
    napi_value result = NULL;
    if (status != napi_ok) login->error = ECANCELED;
    if (login->error != 0)
        napi_reject_deferred(env, login->deferred, ka_error_new(env, login->error, "read PIN"));
    else if (napi_create_int64(env, (int64_t)login->rv, &result) == napi_ok)
        napi_resolve_deferred(env, login->deferred, result);
    login_free(env, login);
}

/* RTLD_NOLOAD: the module is the one that is already in this process, or none. */
static const char *module_find(struct ka_login *login, const char *path) {
    CK_C_GetFunctionList get_function_list;
    CK_FUNCTION_LIST *functions = NULL;
    login->module = dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    if (login->module == NULL) return "the module is not loaded";
    /* ISO C has no conversion from an object pointer to a function pointer; POSIX dlsym(3) relies on it. */
    void *symbol = dlsym(login->module, "C_GetFunctionList");
    if (symbol == NULL) return "the module has no C_GetFunctionList";
    memcpy(&get_function_list, &symbol, sizeof get_function_list);
    if (get_function_list(&functions) != CKR_OK || functions == NULL || functions->C_Login == NULL)
        return "the module gives no function list";
    login->functions = functions;
    return NULL;
}

static bool login_arguments(napi_env env, napi_callback_info info, struct ka_login *login) {
    napi_value arguments[3];
    char path[PATH_MAX];
    const uint8_t *session;
    size_t session_len;

    if (!ka_arguments_get(env, info, 3, arguments) ||
        !ka_argument_string(env, arguments[0], "modulePath", path, sizeof path) ||
        !ka_argument_bytes(env, arguments[1], "session", sizeof login->session, sizeof login->session,
                           &session, &session_len) ||
        !ka_argument_integer(env, arguments[2], "pinFd", -1, INT32_MAX, &login->pin_fd))
        return false;
    memcpy(&login->session, session, sizeof login->session);
    const char *failure = module_find(login, path);
    if (failure != NULL) napi_throw_error(env, "ERR_MODULE", failure);
    return failure == NULL;
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
