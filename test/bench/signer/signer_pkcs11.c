/* In process: a module, one login, a session for each thread. p11-kit-client.so is such a module too. */
#include <dlfcn.h>
#include <openssl/ecdsa.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../agent/native/pkcs11_abi.h"
#include "signer.h"

#define CKF_SERIAL_SESSION_FLAG 4UL
#define CKF_OS_LOCKING_FLAG     2UL
#define CKO_PRIVATE             3UL
#define CKA_CLASS_TYPE          0UL
#define CKA_LABEL_TYPE          3UL
#define CKM_RSA_PKCS            1UL
#define CKM_RSA_PKCS_PSS        0xdUL
#define CKM_ECDSA               0x1041UL
#define CKM_SHA256              0x250UL
#define CKG_MGF1_SHA256         2UL

enum { SLOTS_MAX = 64, PIN_MAX = 256 };

struct initialize_args {
    void *mutex_functions[4];
    CK_FLAGS flags;
    void *reserved;
};

struct pss_params {
    CK_ULONG hash;
    CK_ULONG mgf;
    CK_ULONG salt_len;
};

typedef CK_RV (*find_final)(CK_SESSION_HANDLE session);

struct target {
    CK_FUNCTION_LIST *functions;
    CK_SLOT_ID slot;
    CK_OBJECT_HANDLE key;
    enum algorithm algorithm;
    uint64_t login_ns;
};

struct signer {
    const struct target *target;
    CK_SESSION_HANDLE session;
};

static void check(CK_RV rv, const char *what) {
    if (rv != CKR_OK) die("%s: CKR 0x%lx", what, rv);
}

static CK_FUNCTION_LIST *module_load(const char *path) {
    CK_C_GetFunctionList get_function_list;
    CK_FUNCTION_LIST *functions;
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = module == NULL ? NULL : dlsym(module, "C_GetFunctionList");
    if (symbol == NULL) die("%s", dlerror());
    memcpy(&get_function_list, &symbol, sizeof get_function_list);
    check(get_function_list(&functions), "C_GetFunctionList");
    struct initialize_args args = {.flags = CKF_OS_LOCKING_FLAG};
    check(functions->C_Initialize(&args), "C_Initialize");
    return functions;
}

static bool label_is(const CK_BYTE padded[32], const char *label) {
    const size_t len = strlen(label);
    return len <= 32 && memcmp(padded, label, len) == 0 && (len == 32 || padded[len] == ' ');
}

static CK_SLOT_ID slot_of(const CK_FUNCTION_LIST *functions, const char *label) {
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    CK_TOKEN_INFO info;
    check(functions->C_GetSlotList(1, slots, &count), "C_GetSlotList");
    for (CK_ULONG i = 0; i < count; i++)
        if (functions->C_GetTokenInfo(slots[i], &info) == CKR_OK && label_is(info.label, label)) return slots[i];
    die("no token %s", label);
}

static CK_SESSION_HANDLE session_open(const struct target *target) {
    CK_SESSION_HANDLE session;
    check(target->functions->C_OpenSession(target->slot, CKF_SERIAL_SESSION_FLAG, NULL, NULL, &session),
          "C_OpenSession");
    return session;
}

static void login(const struct target *target, CK_SESSION_HANDLE session, const char *pin_file) {
    char pin[PIN_MAX];
    FILE *file = fopen(pin_file, "re");
    if (file == NULL || fgets(pin, sizeof pin, file) == NULL) die("%s: no PIN", pin_file);
    fclose(file);
    check(target->functions->C_Login(session, CKU_USER, (const CK_BYTE *)pin, strcspn(pin, "\n")), "C_Login");
}

static CK_OBJECT_HANDLE key_find(const struct target *target, CK_SESSION_HANDLE session, const char *label) {
    CK_ULONG private_class = CKO_PRIVATE;
    char name[64];
    CK_ATTRIBUTE template[] = {{CKA_CLASS_TYPE, &private_class, sizeof private_class},
                               {CKA_LABEL_TYPE, name, strlen(label)}};
    CK_OBJECT_HANDLE key;
    CK_ULONG count;
    find_final final;
    snprintf(name, sizeof name, "%s", label);
    memcpy(&final, &target->functions->C_FindObjectsFinal, sizeof final);
    check(target->functions->C_FindObjectsInit(session, template, 2), "C_FindObjectsInit");
    check(target->functions->C_FindObjects(session, &key, 1, &count), "C_FindObjects");
    check(final(session), "C_FindObjectsFinal");
    if (count != 1) die("no private key %s", label);
    return key;
}

static void *target_open(const struct options *options) {
    static struct target target;
    target.functions = module_load(options->module);
    target.slot = slot_of(target.functions, options->token);
    target.algorithm = options->algorithm;
    /* Stays open: the login ends with the last session. */
    const CK_SESSION_HANDLE session = session_open(&target);
    const uint64_t before = now_ns();
    login(&target, session, options->pin_file);
    target.login_ns = now_ns() - before;
    target.key = key_find(&target, session, options->key);
    return &target;
}

static uint64_t login_ns(const void *opened) {
    const struct target *target = opened;
    return target->login_ns;
}

static void *signer_open(void *target) {
    struct signer *signer = malloc(sizeof *signer);
    if (signer == NULL) die("out of memory");
    signer->target = target;
    signer->session = session_open(target);
    return signer;
}

static size_t to_der(const uint8_t *raw, size_t len, uint8_t signature[SIGNATURE_MAX]) {
    ECDSA_SIG *pair = ECDSA_SIG_new();
    uint8_t *end = signature;
    if (pair == NULL || ECDSA_SIG_set0(pair, BN_bin2bn(raw, (int)len / 2, NULL),
                                       BN_bin2bn(raw + len / 2, (int)len / 2, NULL)) != 1)
        die("out of memory");
    const int der_len = i2d_ECDSA_SIG(pair, &end);
    ECDSA_SIG_free(pair);
    return (size_t)der_len;
}

static size_t sign(void *opened, const uint8_t *message, uint8_t signature[SIGNATURE_MAX]) {
    static const uint8_t sha256_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                          0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    struct pss_params pss = {CKM_SHA256, CKG_MGF1_SHA256, SHA256_DIGEST_LENGTH};
    const struct signer *signer = opened;
    const struct target *target = signer->target;
    uint8_t info[sizeof sha256_info + SHA256_DIGEST_LENGTH];
    uint8_t *digest = info + sizeof sha256_info;
    uint8_t raw[SIGNATURE_MAX];
    CK_ULONG len = sizeof raw;
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};

    memcpy(info, sha256_info, sizeof sha256_info);
    SHA256(message, MESSAGE_LEN, digest);
    if (target->algorithm == ALG_RSA_PSS_SHA256) mechanism = (CK_MECHANISM){CKM_RSA_PKCS_PSS, &pss, sizeof pss};
    if (target->algorithm == ALG_RSA_PKCS1_SHA256) mechanism.mechanism = CKM_RSA_PKCS;
    const bool whole = target->algorithm == ALG_RSA_PKCS1_SHA256;
    check(target->functions->C_SignInit(signer->session, &mechanism, target->key), "C_SignInit");
    check(target->functions->C_Sign(signer->session, whole ? info : digest,
                                    whole ? sizeof info : SHA256_DIGEST_LENGTH, raw, &len),
          "C_Sign");
    if (target->algorithm == ALG_ECDSA_SHA256) return to_der(raw, len, signature);
    memcpy(signature, raw, len);
    return len;
}

const struct signer_target signer_pkcs11 = {target_open, signer_open, sign, login_ns};
