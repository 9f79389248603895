/* Finding the keys and certificates that a URI names. */
#ifndef BRIDGE_LOAD_H
#define BRIDGE_LOAD_H

#include "key/candidates.h"
#include "key/index.h"
#include "key/named.h"
#include "module/call.h"
#include "token/scan.h"
#include "uri/uri.h"

/* What is looked for; the URI's type= narrows it further. */
enum load_want { LOAD_ANY, LOAD_PRIVATE, LOAD_PUBLIC, LOAD_CERTIFICATE, LOAD_SECRET };

enum load_result { LOAD_KEY, LOAD_CERT, LOAD_NAME, LOAD_END, LOAD_FAILED };

struct load_phase;

/* A key, the DER of a certificate, or the name of a secret key. */
struct loaded {
    enum load_result what;
    struct key *key;
    struct bytes certificate;
    char *name;
};

/* Those that a phase makes at once, or that are made ahead to see whether there is more than one.
 */
#define LOADED_MOST (CANDIDATES_SHOWN + 1)

struct load {
    struct provider *provider;
    struct uri uri;
    struct pin_source pins;
    enum load_want want;
    struct bytes subject, issuer, serial, alias; /* what is searched by beside the URI; or none */

    struct scan scan;
    struct slot *slot;               /* whose objects are being given out */
    const struct load_phase *phases; /* what to search on each slot */
    const struct load_phase *phase;  /* of the handles below */
    struct handles handles; /* what its search found, and from next on is still to be made */
    CK_ULONG next;
    struct index index;                /* of what may belong to them */
    struct loaded loaded[LOADED_MOST]; /* made, and from given on still to be given out */
    unsigned made, given;
    bool settled;        /* whether the URI tells the private key from others, as far as asked */
    struct doubt *doubt; /* where it does not; else NULL */
    bool no_logins;      /* on slot: one that is not needed failed */

    unsigned found;
    unsigned found_here;  /* on slot */
    char *name;           /* of LOAD_NAME: the URI of a secret key, until the next load_next */
    const char *unusable; /* why a key that was found is no key for OpenSSL */
    CK_RV failure;        /* the first failure on a token, while others are tried */
    const char *failed_call;
    char failed_detail[CALL_DETAIL_MAX];
};

/* Parses text and gets ready; makes no C_* call. False with an error raised. A load is ended with
 * load_end also after that. */
bool load_begin(struct load *load, struct provider *provider, const char *text);

/* Before the first load_next. */
void load_want(struct load *load, enum load_want want);
void load_ask(struct load *load, struct secret *(*ask)(void *arg, const CK_TOKEN_INFO *token),
              void *arg);

/* Before the first load_next: narrows the search to certificates with this subject, or this issuer
 * and serial number, all in DER, or to objects with this label. False when memory is short. */
enum load_criterion { BY_SUBJECT, BY_ISSUER, BY_SERIAL, BY_ALIAS };
bool load_search(struct load *load, enum load_criterion criterion, const void *value, size_t len);

/* The next key, the DER of the next certificate, or the name of a secret key (in load->name); the
 * caller frees the first two where they are not NULL or none.
 * LOAD_FAILED: an error is raised; so it is when nothing at all was found.
 *
 * With LOAD_PRIVATE, the first of several keys that the URI does not tell apart is given out in
 * doubt (key/doubt.h), unless pkcs11-ambiguous says otherwise: the next load_next that gives a key
 * lifts it, after load_end it stays. */
enum load_result load_next(struct load *load, struct key **key, struct bytes *certificate);

void load_end(struct load *load);

#endif
