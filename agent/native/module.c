/* loadedModule: the function list of a PKCS#11 module that is loaded in this process already. */
#define _DEFAULT_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <string.h>

#include "exports.h"
#include "module.h"

/* Nothing else that comes from JavaScript is taken for one. */
static const napi_type_tag tag = {0x6b657961676e7431, 0x706b637331316d31};

/* @return what is wrong, or NULL. The module stays loaded as long as the process lives. */
static const char *module_find(const char *path, CK_FUNCTION_LIST **functions) {
    CK_C_GetFunctionList get_function_list;
    void *module = dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    if (module == NULL) return "the module is not loaded";
    /* ISO C has no conversion from an object pointer to a function pointer; POSIX dlsym(3) relies on it. */
    void *symbol = dlsym(module, "C_GetFunctionList");
    if (symbol == NULL) return "the module has no C_GetFunctionList";
    memcpy(&get_function_list, &symbol, sizeof get_function_list);
    CK_FUNCTION_LIST *again = NULL;
    if (get_function_list(functions) != CKR_OK || get_function_list(&again) != CKR_OK || *functions == NULL)
        return "the module gives no function list";
    /* As p11-kit's proxy and client do: what was initialised by one list is not by the next. */
    if (*functions != again) return "it gives another function list at each call; name the module behind it";
    return NULL;
}

napi_value ka_loaded_module(napi_env env, napi_callback_info info) {
    napi_value argument;
    napi_value result;
    char path[PATH_MAX];
    CK_FUNCTION_LIST *functions = NULL;

    if (!ka_arguments_get(env, info, 1, &argument) ||
        !ka_argument_string(env, argument, "modulePath", path, sizeof path))
        return NULL;
    const char *failure = module_find(path, &functions);
    if (failure != NULL) {
        napi_throw_error(env, "ERR_MODULE", failure);
        return NULL;
    }
    if (napi_create_external(env, functions, NULL, NULL, &result) != napi_ok ||
        napi_type_tag_object(env, result, &tag) != napi_ok)
        return NULL;
    return result;
}

bool ka_argument_module(napi_env env, napi_value value, const CK_FUNCTION_LIST **functions) {
    napi_valuetype type;
    bool is_module = false;
    void *list = NULL;
    if (napi_typeof(env, value, &type) != napi_ok || type != napi_external ||
        napi_check_object_type_tag(env, value, &tag, &is_module) != napi_ok || !is_module ||
        napi_get_value_external(env, value, &list) != napi_ok) {
        napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "module must be what loadedModule returned");
        return false;
    }
    *functions = list;
    return true;
}

bool ka_argument_handle(napi_env env, napi_value value, const char *name, CK_ULONG *handle) {
    const uint8_t *bytes;
    size_t len;
    if (!ka_argument_bytes(env, value, name, sizeof *handle, sizeof *handle, &bytes, &len)) return false;
    memcpy(handle, bytes, sizeof *handle);
    return true;
}
