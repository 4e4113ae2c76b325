/* A PKCS#11 module around a real one, for tests: counts calls and makes them fail.
 *
 *     KEYAGENT_TEST_REAL_MODULE  the module that does the work; default SoftHSM
 *     KEYAGENT_TEST_COUNT_FILE   gets one line "PID FUNCTION 0xRV" per wrapped call, written at once
 * (O_APPEND) KEYAGENT_TEST_FAULT_FILE   see faults.h KEYAGENT_TEST_PIN          what require_null logs in
 * with
 *
 * Functions that are not wrapped are the real module's own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../agent/native/pkcs11_abi.h"
#include "faults.h"

static const char default_module[] = "/usr/lib/softhsm/libsofthsm2.so";

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST wrapped;
/* Of C_OpenSession: these tests use one token at a time. */
static _Atomic CK_SLOT_ID last_slot;
/* SoftHSM frees the operation of a session that is closed, also while another thread computes in it:
 * close_all waits for those to end. */
static pthread_rwlock_t computing = PTHREAD_RWLOCK_INITIALIZER;

static void line_write(const char *function, const char *what) {
    char line[96];
    const char *path = getenv("KEYAGENT_TEST_COUNT_FILE");
    if (path == NULL) return;
    const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    const int len = snprintf(line, sizeof line, "%ld %s %s\n", (long)getpid(), function, what);
    /* A lost line would let a test pass that must not. */
    if (fd < 0 || write(fd, line, (size_t)len) != len) {
        perror("counting-pkcs11: count file");
        abort();
    }
    close(fd);
}

static void count_write(const char *function, CK_RV rv) {
    char text[24];
    snprintf(text, sizeof text, "0x%lx", rv);
    line_write(function, text);
}

static void sleep_ms(unsigned long milliseconds) {
    struct timespec left = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

static struct fault fault_begin_mechanism(const char *function, CK_ULONG mechanism) {
    const struct fault fault = fault_next(function, mechanism);
    if (fault.sleep_ms > 0) {
        line_write(function, "sleeps");
        sleep_ms(fault.sleep_ms);
    }
    if (fault.close_all) {
        pthread_rwlock_wrlock(&computing);
        real->C_CloseAllSessions(last_slot);
        pthread_rwlock_unlock(&computing);
    }
    if (fault.abort) {
        count_write(function, CKR_GENERAL_ERROR);
        abort();
    }
    return fault;
}

static struct fault fault_begin(const char *function) {
    return fault_begin_mechanism(function, FAULT_NO_MECHANISM);
}

static CK_RV counted(const char *function, CK_RV rv) {
    count_write(function, rv);
    return rv;
}

/* A function whose fault can only be its return value, a delay or an end. */
#define WRAP(name, parameters, arguments)                                                                    \
    static CK_RV wrapped_##name parameters {                                                                 \
        const struct fault fault = fault_begin(#name);                                                       \
        return counted(#name, fault.has_rv ? fault.rv : real->name arguments);                               \
    }

WRAP(C_Initialize, (void *args), (args))
WRAP(C_Finalize, (void *reserved), (reserved))
WRAP(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count), (present, slots, count))
WRAP(C_CloseSession, (CK_SESSION_HANDLE session), (session))
WRAP(C_CloseAllSessions, (CK_SLOT_ID slot), (slot))
WRAP(C_Logout, (CK_SESSION_HANDLE session), (session))
WRAP(C_FindObjectsInit, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG count),
     (session, attributes, count))
WRAP(C_FindObjects, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count),
     (session, objects, max, count))
WRAP(C_GetAttributeValue,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes, CK_ULONG count),
     (session, object, attributes, count))

static CK_RV wrapped_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, void *notify,
                                   CK_SESSION_HANDLE *session) {
    const struct fault fault = fault_begin("C_OpenSession");
    last_slot = slot;
    return counted("C_OpenSession",
                   fault.has_rv ? fault.rv : real->C_OpenSession(slot, flags, application, notify, session));
}

#define WRAP_INIT(name)                                                                                      \
    static CK_RV wrapped_##name(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) {  \
        const struct fault fault = fault_begin_mechanism(#name, mechanism->mechanism);                       \
        return counted(#name, fault.has_rv ? fault.rv : real->name(session, mechanism, key));                \
    }

WRAP_INIT(C_SignInit)
WRAP_INIT(C_DecryptInit)

static CK_RV wrapped_C_GetMechanismInfo(CK_SLOT_ID slot, CK_ULONG mechanism, CK_MECHANISM_INFO *info) {
    const struct fault fault = fault_begin_mechanism("C_GetMechanismInfo", mechanism);
    const CK_RV rv = fault.has_rv ? fault.rv : real->C_GetMechanismInfo(slot, mechanism, info);
    if (rv == CKR_OK) info->flags = (info->flags | fault.flags_or) & fault.flags_and;
    return counted("C_GetMechanismInfo", rv);
}

static CK_RV wrapped_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info) {
    const struct fault fault = fault_begin("C_GetSlotInfo");
    const CK_RV rv = fault.has_rv ? fault.rv : real->C_GetSlotInfo(slot, info);
    if (rv == CKR_OK) info->flags = (info->flags | fault.flags_or) & fault.flags_and;
    return counted("C_GetSlotInfo", rv);
}

static CK_RV wrapped_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info) {
    const struct fault fault = fault_begin("C_GetTokenInfo");
    const CK_RV rv = fault.has_rv ? fault.rv : real->C_GetTokenInfo(slot, info);
    if (rv == CKR_OK) {
        info->flags = (info->flags | fault.flags_or) & fault.flags_and;
        if (fault.serial[0] != '\0') {
            memset(info->serial_number, ' ', sizeof info->serial_number);
            memcpy(info->serial_number, fault.serial, strlen(fault.serial));
        }
    }
    return counted("C_GetTokenInfo", rv);
}

static CK_RV wrapped_C_Login(CK_SESSION_HANDLE session, CK_ULONG user, const CK_BYTE *pin, CK_ULONG pin_len) {
    const struct fault fault = fault_begin("C_Login");
    if (fault.has_rv) return counted("C_Login", fault.rv);
    if (fault.require_null) {
        const char *known = getenv("KEYAGENT_TEST_PIN");
        if (pin != NULL || known == NULL) return counted("C_Login", CKR_ARGUMENTS_BAD);
        pin = (const CK_BYTE *)known;
        pin_len = strlen(known);
    }
    return counted("C_Login", real->C_Login(session, user, pin, pin_len));
}

/* C_Sign and C_Decrypt. */
#define WRAP_COMPUTATION(name)                                                                               \
    static CK_RV wrapped_##name(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,       \
                                CK_ULONG *out_len) {                                                         \
        const struct fault fault = fault_begin(#name);                                                       \
        if (fault.has_rv) return counted(#name, fault.rv);                                                   \
        pthread_rwlock_rdlock(&computing);                                                                   \
        const CK_RV rv = real->name(session, in, in_len, out, out_len);                                      \
        pthread_rwlock_unlock(&computing);                                                                   \
        if (rv == CKR_OK && fault.corrupt && out != NULL && *out_len > 0) out[*out_len / 2] ^= 1;            \
        if (rv == CKR_OK && fault.length > 0) *out_len = fault.length;                                       \
        return counted(#name, rv);                                                                           \
    }

WRAP_COMPUTATION(C_Sign)
WRAP_COMPUTATION(C_Decrypt)

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

static void wrap(void) {
    CK_C_GetFunctionList get_function_list;
    const char *path = getenv("KEYAGENT_TEST_REAL_MODULE");
    void *module = dlopen(path == NULL ? default_module : path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = module == NULL ? NULL : dlsym(module, "C_GetFunctionList");
    if (symbol == NULL) {
        fprintf(stderr, "counting-pkcs11: %s\n", dlerror());
        return;
    }
    memcpy(&get_function_list, &symbol, sizeof get_function_list);
    if (get_function_list(&real) != CKR_OK) return;
    wrapped = *real;
    wrapped.C_GetFunctionList = C_GetFunctionList;
    wrapped.C_Initialize = wrapped_C_Initialize;
    wrapped.C_Finalize = wrapped_C_Finalize;
    wrapped.C_GetSlotList = wrapped_C_GetSlotList;
    wrapped.C_GetSlotInfo = wrapped_C_GetSlotInfo;
    wrapped.C_GetTokenInfo = wrapped_C_GetTokenInfo;
    wrapped.C_GetMechanismInfo = wrapped_C_GetMechanismInfo;
    wrapped.C_OpenSession = wrapped_C_OpenSession;
    wrapped.C_CloseSession = wrapped_C_CloseSession;
    wrapped.C_CloseAllSessions = wrapped_C_CloseAllSessions;
    wrapped.C_Login = wrapped_C_Login;
    wrapped.C_Logout = wrapped_C_Logout;
    wrapped.C_FindObjectsInit = wrapped_C_FindObjectsInit;
    wrapped.C_FindObjects = wrapped_C_FindObjects;
    wrapped.C_GetAttributeValue = wrapped_C_GetAttributeValue;
    wrapped.C_SignInit = wrapped_C_SignInit;
    wrapped.C_Sign = wrapped_C_Sign;
    wrapped.C_DecryptInit = wrapped_C_DecryptInit;
    wrapped.C_Decrypt = wrapped_C_Decrypt;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
    pthread_once(&once, wrap);
    if (real == NULL) return CKR_GENERAL_ERROR;
    *list = &wrapped;
    return CKR_OK;
}
