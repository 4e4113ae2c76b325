/* A PKCS#11 module that is loaded in this process, as JavaScript holds it, and its handles. */
#ifndef KA_MODULE_H
#define KA_MODULE_H

#include "arguments.h"
#include "pkcs11_abi.h"

/** What `module` gave. As the other functions of arguments.h. */
bool ka_argument_module(napi_env env, napi_value value, const CK_FUNCTION_LIST **functions);

/** A session or object handle: 8 bytes, in the machine's order. */
bool ka_argument_handle(napi_env env, napi_value value, const char *name, CK_ULONG *handle);

#endif
