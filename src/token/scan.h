/* Walking the tokens that a URI may mean, one at a time, with no more calls than it takes to find
 * the next one. Tokens that were seen before come first, without a call. */
#ifndef BRIDGE_SCAN_H
#define BRIDGE_SCAN_H

#include "module/retry.h"
#include "token/slot.h"
#include "token/tokens.h"
#include "uri/uri.h"

#define SCAN_SEEN_MAX 400

struct scan {
    struct module *module;
    const struct uri *uri;
    const struct pool_limits *limits;

    enum { SCAN_BEGIN, SCAN_KNOWN, SCAN_LISTED, SCAN_DONE } stage;
    struct slot *known; /* SCAN_KNOWN: the next one to look at */
    CK_SLOT_ID *ids;    /* SCAN_LISTED */
    CK_ULONG count, next;
    bool all;        /* scan_all */
    CK_ULONG failed; /* of ids, at their front: slots that are looked at again after the others */
    bool again;      /* they are being looked at */
    bool renewed;    /* module_restart or module_renew was tried */
    unsigned long life; /* of the module, when its slots were listed */
    unsigned matched;   /* tokens given out since the slots were listed */
    struct retry looks; /* module_look_again */
    uint64_t looked;    /* clock_ms of the first of these */
    CK_RV failure;      /* of the first slot that could not be looked at, or CKR_OK */
    const char *failed_call;
    bool other_library;       /* the URI names one, and the module is another */
    bool uninitialized;       /* a token that fits is not initialised */
    bool shown;               /* there are tokens with a label, fitting or not */
    struct slot *seen_first;  /* of the tokens that were looked at, */
    unsigned seen_count;      /* and how many they are */
    char seen[SCAN_SEEN_MAX]; /* the labels of the tokens that were looked at: "'a', 'b'" */
};

void scan_begin(struct scan *scan, struct module *module, const struct uri *uri,
                const struct pool_limits *limits);

/* Before the first scan_next: the slots are listed anew, also where tokens are known. */
void scan_all(struct scan *scan);

/* The next token that fits, or NULL at the end. Where none does, it is looked for again before that
 * in a module that was started lately (module_look_again): for a quarter of a second, for a second
 * where no token is shown at all, for pkcs11-retry-ms where a slot could not be looked at; one that
 * was started earlier is initialised anew, at most once a second, where nobody loses by that
 * (module_renew): it may not have seen the tokens that came since. */
CK_RV scan_next(struct scan *scan, struct slot **out);

/* Whether every slot that was listed had its turn: what comes now are those that failed in it, once
 * more, for as long as something that failed is tried again. */
bool scan_went_round(const struct scan *scan);

/* When the known tokens did not have what was looked for: true if the slots have not been listed by
 * this scan, which then goes on with all of them. */
bool scan_widen(struct scan *scan);

/* When the work with the token given out last ended in rv, of call: true if the module may not know
 * its own tokens, and goes on with all slots. Before that it is asked again and initialised again,
 * where it was started lately for pkcs11-retry-ms (module_look_again), and else once in a scan,
 * where nobody loses by that (module_restart). */
bool scan_again(struct scan *scan, CK_RV rv, const char *call);

/* " (looked for again for 250 ms)", or nothing, for the error: into buf of
 * SCAN_WAITED_MAX bytes, which is returned. */
#define SCAN_WAITED_MAX 64
const char *scan_tell_waited(const struct scan *scan, char *buf);

/* The other tokens that fit, beside the one in slot, which was given out; NULL after the last, and
 * where the URI names one alone. Slots that nobody has asked are asked. *list and *at are the
 * caller's, who begins with NULL and 0, and frees *list with OPENSSL_free. */
struct slot *scan_other(struct scan *scan, struct slot *slot, struct token_list **list,
                        CK_ULONG *at);

void scan_end(struct scan *scan);

#endif
