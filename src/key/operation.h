/* A private key's operation: what the token does, with what, and what came of it.
 *
 * In an ASYNC_JOB (ASYNC_start_job(3)) a thread of the slot's crew does it while the job is paused,
 * so that the thread of the job can go on with other jobs. A job may be given up while it is
 * paused: its memory is then its application's to free. Therefore an operation in a job has copies
 * of all that it works on, and lives until both sides have let go of it. */
#ifndef BRIDGE_OPERATION_H
#define BRIDGE_OPERATION_H

#include "key/key.h"
#include "mech/crypt.h"
#include "mech/hkdf.h"
#include "module/call.h"
#include "token/run.h"

struct derive_mechanism {
    CK_MECHANISM ck;
    CK_ECDH1_DERIVE_PARAMS params;
};

struct job;

/* A use of a private key: its name to a witness, and what does it, with the operation for its arg.
 */
struct operation_kind {
    const char *name;
    object_task *task;
};

struct operation {
    struct key *key;
    struct pin_source pins; /* of the key's provider */
    struct view in, extra;  /* extra: what the mechanism's parameters point to */
    struct room out;        /* wiped at the end */
    bool refused; /* by the C_*Init call: the mechanism, not the data, is what it does not like */
    CK_RV answer; /* of the call after that, where one says more than that it was done */

    /* operation.c */
    const struct operation_kind *kind;
    bool in_place;   /* in its caller's memory */
    bool lent;       /* out is the caller's */
    struct job *job; /* that it is in; NULL outside of one */

    /* nothing is in it before the caller has set it whole */
    union {
        CK_MECHANISM ck;
        struct sign_mechanism sign;
        struct cipher_mechanism cipher;
        struct derive_mechanism derive;
        struct crypt_mechanism crypt;
        struct hkdf_mechanism hkdf;
    } mechanism;
};

/* Where an operation outside of a job is, if its result is no longer than this. */
#define OPERATION_ROOM 512

struct operation_place {
    struct operation operation;
    uint8_t room[OPERATION_ROOM];
};

/* An operation with key, which must have a private half, on in and extra, with room for out_size
 * bytes of result. place, in and extra have to last only as long as the caller waits for
 * operation_run. The caller fills the mechanism, with what operation->extra points to, and ends it
 * with _cleanup_(operation_end). NULL, with an error raised, when memory is short. */
struct operation *operation_begin(struct operation_place *place, struct key *key, struct view in,
                                  struct view extra, size_t out_size);

/* The same for what may be long: the result goes to out, of out_size bytes, where that can be: not
 * in a job, and not over in, which is needed again where a call is made again. When it is there,
 * operation_take copies it to the same out where it is not. */
struct operation *operation_begin_into(struct operation_place *place, struct key *key,
                                       struct view in, struct view extra, uint8_t *out,
                                       size_t out_size);
void operation_take(const struct operation *operation, uint8_t *out);

/* Runs the task of kind on the key's object and waits for it: with the thread blocked or, in a job,
 * with the job paused. A witness is told. */
CK_RV operation_run(struct operation *operation, const struct operation_kind *kind);
/* The task of a signature and of a MAC: C_SignInit, C_Sign, and C_SignUpdate for what is long. */
object_task operation_sign;

void operation_end(struct operation **operation);

/* Whether what operation_run gave is what C_Login said, which is about nothing but the login. */
bool login_failed(CK_RV rv);

#endif
