/* The addon's table of functions. */
#include "exports.h"

#define FUNCTION(name, function)                                                                             \
    { name, NULL, function, NULL, NULL, NULL, napi_enumerable, NULL }

NAPI_MODULE_INIT() {
    static const napi_property_descriptor functions[] = {
        FUNCTION("peerCredentials", ka_peer_credentials),
        FUNCTION("peerIsAlive", ka_peer_is_alive),
        FUNCTION("fileIdentity", ka_file_identity),
        FUNCTION("lockFile", ka_lock_file),
        FUNCTION("hardenProcess", ka_process_harden),
        FUNCTION("dieWithParent", ka_process_die_with_parent),
        FUNCTION("secretBytes", ka_secret_new),
        FUNCTION("wipeSecret", ka_secret_wipe),
        FUNCTION("readSecret", ka_secret_from_fd),
        FUNCTION("writeSecret", ka_secret_to_fd),
        FUNCTION("loadedModule", ka_loaded_module),
        FUNCTION("login", ka_login),
        FUNCTION("signInit", ka_sign_init),
        FUNCTION("decryptInit", ka_decrypt_init),
        FUNCTION("sign", ka_sign),
        FUNCTION("signAside", ka_sign_aside),
        FUNCTION("decryptAside", ka_decrypt_aside),
        FUNCTION("tlsPremaster", ka_tls_premaster),
        FUNCTION("oaepDecode", ka_oaep),
        FUNCTION("pssEncode", ka_pss_encoding),
        FUNCTION("pssVerify", ka_pss_check),
        FUNCTION("notify", ka_notify),
    };
    if (napi_define_properties(env, exports, sizeof functions / sizeof functions[0], functions) != napi_ok)
        return NULL;
    return exports;
}
