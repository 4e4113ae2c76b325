/* The part of the PKCS#11 v2.40 binary interface that we call ourselves: types as in pkcs11t.h on Unix
 * (unpacked), functions in the order of pkcs11f.h. A function that nobody here calls has no prototype. */
#ifndef KA_PKCS11_ABI_H
#define KA_PKCS11_ABI_H

typedef unsigned char CK_BYTE;
typedef unsigned char CK_BBOOL;
typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
typedef CK_ULONG CK_FLAGS;
typedef CK_ULONG CK_SLOT_ID;
typedef CK_ULONG CK_SESSION_HANDLE;
typedef CK_ULONG CK_OBJECT_HANDLE;

#define CKU_USER                     1UL
#define CKU_CONTEXT_SPECIFIC         2UL
#define CKR_OK                       0x000UL
#define CKR_HOST_MEMORY              0x002UL
#define CKR_GENERAL_ERROR            0x005UL
#define CKR_ARGUMENTS_BAD            0x007UL
#define CKR_CRYPTOKI_NOT_INITIALIZED 0x190UL

typedef struct {
    CK_BYTE major;
    CK_BYTE minor;
} CK_VERSION;

typedef struct {
    CK_ULONG type;
    void *value;
    CK_ULONG value_len;
} CK_ATTRIBUTE;

typedef struct {
    CK_ULONG mechanism;
    void *parameter;
    CK_ULONG parameter_len;
} CK_MECHANISM;

typedef struct {
    CK_BYTE slot_description[64];
    CK_BYTE manufacturer_id[32];
    CK_FLAGS flags;
    CK_VERSION hardware_version;
    CK_VERSION firmware_version;
} CK_SLOT_INFO;

typedef struct {
    CK_BYTE label[32];
    CK_BYTE manufacturer_id[32];
    CK_BYTE model[16];
    CK_BYTE serial_number[16];
    CK_FLAGS flags;
    CK_ULONG counts_and_sizes[10];
    CK_VERSION hardware_version;
    CK_VERSION firmware_version;
    CK_BYTE utc_time[16];
} CK_TOKEN_INFO;

typedef struct {
    CK_ULONG min_key_size;
    CK_ULONG max_key_size;
    CK_FLAGS flags;
} CK_MECHANISM_INFO;

typedef CK_RV (*CK_ANY_FUNCTION)(void);
typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;

struct CK_FUNCTION_LIST {
    CK_VERSION version;
    CK_RV (*C_Initialize)(void *args);
    CK_RV (*C_Finalize)(void *reserved);
    CK_ANY_FUNCTION C_GetInfo;
    CK_RV (*C_GetFunctionList)(CK_FUNCTION_LIST **list);
    CK_RV (*C_GetSlotList)(CK_BBOOL token_present, CK_SLOT_ID *slots, CK_ULONG *count);
    CK_RV (*C_GetSlotInfo)(CK_SLOT_ID slot, CK_SLOT_INFO *info);
    CK_RV (*C_GetTokenInfo)(CK_SLOT_ID slot, CK_TOKEN_INFO *info);
    CK_ANY_FUNCTION C_GetMechanismList;
    CK_RV (*C_GetMechanismInfo)(CK_SLOT_ID slot, CK_ULONG mechanism, CK_MECHANISM_INFO *info);
    CK_ANY_FUNCTION C_InitToken;
    CK_ANY_FUNCTION C_InitPIN;
    CK_ANY_FUNCTION C_SetPIN;
    CK_RV(*C_OpenSession)
    (CK_SLOT_ID slot, CK_FLAGS flags, void *application, void *notify, CK_SESSION_HANDLE *session);
    CK_RV (*C_CloseSession)(CK_SESSION_HANDLE session);
    CK_RV (*C_CloseAllSessions)(CK_SLOT_ID slot);
    CK_ANY_FUNCTION C_GetSessionInfo;
    CK_ANY_FUNCTION C_GetOperationState;
    CK_ANY_FUNCTION C_SetOperationState;
    CK_RV (*C_Login)(CK_SESSION_HANDLE session, CK_ULONG user, const CK_BYTE *pin, CK_ULONG pin_len);
    CK_RV (*C_Logout)(CK_SESSION_HANDLE session);
    CK_ANY_FUNCTION C_CreateObject;
    CK_ANY_FUNCTION C_CopyObject;
    CK_ANY_FUNCTION C_DestroyObject;
    CK_ANY_FUNCTION C_GetObjectSize;
    CK_RV(*C_GetAttributeValue)
    (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes, CK_ULONG count);
    CK_ANY_FUNCTION C_SetAttributeValue;
    CK_RV (*C_FindObjectsInit)(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG count);
    CK_RV(*C_FindObjects)
    (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count);
    CK_RV (*C_FindObjectsFinal)(CK_SESSION_HANDLE session);
    CK_ANY_FUNCTION C_EncryptInit;
    CK_ANY_FUNCTION C_Encrypt;
    CK_ANY_FUNCTION C_EncryptUpdate;
    CK_ANY_FUNCTION C_EncryptFinal;
    CK_RV (*C_DecryptInit)(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key);
    CK_RV(*C_Decrypt)
    (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len);
    CK_ANY_FUNCTION C_DecryptUpdate;
    CK_ANY_FUNCTION C_DecryptFinal;
    CK_ANY_FUNCTION C_DigestInit;
    CK_ANY_FUNCTION C_Digest;
    CK_ANY_FUNCTION C_DigestUpdate;
    CK_ANY_FUNCTION C_DigestKey;
    CK_ANY_FUNCTION C_DigestFinal;
    CK_RV (*C_SignInit)(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key);
    CK_RV (*C_Sign)(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len);
    /* C_SignUpdate ... C_WaitForSlotEvent */
    CK_ANY_FUNCTION rest[24];
};

typedef CK_RV (*CK_C_GetFunctionList)(CK_FUNCTION_LIST **list);

#endif
