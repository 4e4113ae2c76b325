/* The control file of the counting module: which call is to fail, and how. Read again at each call, so that a
 * test can change it while the module runs. One line per rule; the first rule of a function that applies is
 * taken:
 *
 *     FUNCTION key=value...
 *     C_Sign rv=0x30 count=1          return CKR_DEVICE_ERROR once instead of calling the real module
 *     C_Sign skip=2 rv=0x30           from the third call on
 *     C_Login sleep_ms=30000          wait, then call
 *     C_Sign corrupt=1                flip a bit of the result (C_Sign, C_Decrypt)
 *     C_Sign length=4096              say that the result is so long (C_Sign, C_Decrypt)
 *     C_Sign abort=1                  end the process by SIGABRT
 *     C_GetTokenInfo flags|=0x20000   set bits in the flags (also C_GetSlotInfo, C_GetMechanismInfo)
 *     C_GetTokenInfo flags&=0xfffe    clear bits
 *     C_GetTokenInfo serial=OTHER     another token is in the slot
 *     C_Login require_null=1          a PIN is refused; a NULL PIN logs in with $KEYAGENT_TEST_PIN
 *     C_Sign close_all=1              close every session of the token first: the login is lost, handles are
 * stale C_SignInit mechanism=0xd ...    only for that mechanism (C_SignInit, C_DecryptInit,
 * C_GetMechanismInfo)
 *
 * `skip` and `count` are counted in each process anew, and from the start when the file changes. */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>

enum { FAULT_SERIAL_LEN = 16 };

struct fault {
    bool has_rv;
    unsigned long rv;
    unsigned long sleep_ms;
    bool corrupt;
    /* 0: as it is */
    unsigned long length;
    bool abort;
    bool require_null;
    bool close_all;
    unsigned long flags_or;
    unsigned long flags_and;
    char serial[FAULT_SERIAL_LEN + 1];
};

#define FAULT_NO_MECHANISM (~0UL)

/** @return the fault of this call; one that changes nothing if no rule applies. Thread-safe. */
struct fault fault_next(const char *function, unsigned long mechanism);

#endif
