/* The tokens that a module shows: what C_GetSlotList and C_GetTokenInfo said, and what is still to
 * be asked. For questions about all of them; whoever looks for one asks no more slots than it takes
 * (token/scan.h), and what it hears is kept here as well. */
#ifndef BRIDGE_TOKENS_H
#define BRIDGE_TOKENS_H

#include "module/module.h"

struct slot;

struct seen_token {
    CK_SLOT_ID id;
    enum { TOKEN_UNASKED, TOKEN_ABSENT, TOKEN_PRESENT } state;
    CK_TOKEN_INFO info;
};

struct token_list {
    CK_ULONG count;
    struct seen_token seen[];
};

/* C_GetSlotList has given these ids. */
void tokens_listed(struct module *module, const CK_SLOT_ID *ids, CK_ULONG count);

/* C_GetTokenInfo for the slot id; the answer is remembered. */
CK_RV tokens_ask(struct module *module, CK_SLOT_ID id, CK_TOKEN_INFO *info);

/* Under the lock: the module was finalised. */
void tokens_forget(struct module *module);

/* The tokens that are there: as remembered since the module was started where slot's is among them,
 * listed anew where it is not. all: with the slots that nobody has asked yet asked now; one that
 * does not answer stays TOKEN_UNASKED. *asked is set where there was a call, which may take its
 * time. The caller frees *out with OPENSSL_free. */
CK_RV tokens_there(struct slot *slot, bool all, struct token_list **out, bool *asked);

#endif
