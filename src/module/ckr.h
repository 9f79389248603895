/* What the values of CK_RV are called, what a person can do about them, and how the door
 * (token/run.h) mends them. */
#ifndef BRIDGE_CKR_H
#define BRIDGE_CKR_H

#include <stdbool.h>

#include "module/cryptoki.h"

/* What is wrong, so far as the value tells: each leads to a different repair before the next try.
 */
enum repair {
    REPAIR_NOTHING, /* give up: trying again would end the same way */
    REPAIR_DOUBT,   /* as REPAIR_SESSION, but no more than twice: it may be the data as well */
    REPAIR_SESSION, /* this session is spoilt: drop it, take another */
    REPAIR_WAIT,    /* nothing here is broken: others have what is wanted, and may give it back */
    REPAIR_TOKEN,   /* the token restarted or moved: all sessions, handles and the login are void */
    REPAIR_LOGIN,   /* the login was lost, and private handles with it */
    REPAIR_HANDLE,  /* the object's handle is stale: find it again */
    REPAIR_STALE,   /* nothing to mend: another thread has voided sessions and handles */
    REPAIR_MODULE,  /* the module wants C_Initialize */
};

struct ckr {
    CK_RV rv;
    const char *name; /* NULL for outcomes of our own and for unknown values */
    enum repair repair;
    const char *advice; /* NULL where the name says it all */
    bool detailed;      /* call_detail says more: beside the advice where there is a name */
    const char *symbol; /* NULL for unknown values */
};

/* Never NULL; an unknown value has neither name nor advice and no repair. */
const struct ckr *ckr_describe(CK_RV rv);

/* One word for it, in metrics: the CKR_ name, or that of an outcome of our own (SESSIONS_BUSY);
 * NULL for an unknown value. */
const char *ckr_label(CK_RV rv);

/* What a person can do about what call returned; NULL where the name says it all. */
const char *ckr_advice(const char *call, CK_RV rv);

/* Whether it is the token, the key or the login that is at fault, whatever was asked of them. */
bool ckr_is_lasting(CK_RV rv);

/* Whether the module could not say what there is, of itself or of its slots: files or devices that
 * it cannot see may be why. */
bool ckr_is_blind(const char *call, CK_RV rv);

/* Whether a module that shows the token says by rv, of call, that it did not read all of it when it
 * was initialised, if there is more to it. */
bool ckr_is_unread(const char *call, CK_RV rv);

/* What a failure means for those who made the call. What is tried again is decided here, by the C_*
 * function and the value that it returned, and nowhere else. */
struct verdict {
    enum repair repair;
    bool begun;      /* it may have done its work: what must not be done twice is not tried again */
    bool about_data; /* it may be an answer about the data that was given */
    bool spoils;     /* it may have left an operation active on its session */
    bool active;     /* there is one */
    CK_FLAGS pending; /* it is this one (CKF_SIGN, ...), and nothing else is wrong; 0: not so */
};

struct verdict ckr_verdict(const char *call, CK_RV rv);

/* Whether to try again after tries failures before this one. */
bool verdict_try_again(const struct verdict *verdict, unsigned tries);

#endif
