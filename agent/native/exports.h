/* The functions that the addon gives to JavaScript, each described in index.ts under the name in addon.c. */
#ifndef KA_EXPORTS_H
#define KA_EXPORTS_H

#include "arguments.h"

napi_value ka_peer_credentials(napi_env env, napi_callback_info info);
napi_value ka_peer_is_alive(napi_env env, napi_callback_info info);
napi_value ka_file_identity(napi_env env, napi_callback_info info);
napi_value ka_lock_file(napi_env env, napi_callback_info info);
napi_value ka_process_harden(napi_env env, napi_callback_info info);
napi_value ka_process_die_with_parent(napi_env env, napi_callback_info info);
napi_value ka_secret_new(napi_env env, napi_callback_info info);
napi_value ka_secret_wipe(napi_env env, napi_callback_info info);
napi_value ka_secret_from_fd(napi_env env, napi_callback_info info);
napi_value ka_secret_to_fd(napi_env env, napi_callback_info info);
napi_value ka_loaded_module(napi_env env, napi_callback_info info);
napi_value ka_login(napi_env env, napi_callback_info info);
napi_value ka_tls_premaster(napi_env env, napi_callback_info info);
napi_value ka_oaep(napi_env env, napi_callback_info info);
napi_value ka_pss_encoding(napi_env env, napi_callback_info info);
napi_value ka_pss_check(napi_env env, napi_callback_info info);
napi_value ka_sign_init(napi_env env, napi_callback_info info);
napi_value ka_decrypt_init(napi_env env, napi_callback_info info);
napi_value ka_sign(napi_env env, napi_callback_info info);
napi_value ka_sign_aside(napi_env env, napi_callback_info info);
napi_value ka_decrypt_aside(napi_env env, napi_callback_info info);
napi_value ka_notify(napi_env env, napi_callback_info info);

#endif
