/* hardenProcess and dieWithParent: what a process that holds keys' sessions asks of the kernel for itself. */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "exports.h"

napi_value ka_process_harden(napi_env env, napi_callback_info info) {
    static const struct rlimit none = {0, 0};
    if (!ka_arguments_get(env, info, 0, NULL)) return NULL;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return ka_throw_errno(env, errno, "prctl(PR_SET_DUMPABLE)");
    if (setrlimit(RLIMIT_CORE, &none) != 0) return ka_throw_errno(env, errno, "setrlimit(RLIMIT_CORE)");
    /* CAP_SYS_PTRACE, for rules by exe, is the agent's: a vendor's module in a child could read any memory.
     */
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return ka_throw_errno(env, errno, "prctl(PR_CAP_AMBIENT)");
    return NULL;
}

napi_value ka_process_die_with_parent(napi_env env, napi_callback_info info) {
    if (!ka_arguments_get(env, info, 0, NULL)) return NULL;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return ka_throw_errno(env, errno, "prctl(PR_SET_PDEATHSIG)");
    return NULL;
}
