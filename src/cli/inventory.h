/* The objects that a URI names, of every class, as their tokens show them. */
#ifndef BRIDGE_CLI_INVENTORY_H
#define BRIDGE_CLI_INVENTORY_H

#include "base/bytes.h"
#include "cli/context.h"
#include "token/object.h"
#include "token/scan.h"
#include "uri/uri.h"

struct json;

struct item {
    CK_OBJECT_CLASS class;
    struct attributes *names; /* class, type, label, id, public values */
    struct attributes *uses;  /* what it may be used for, and what is done with it */
    struct bytes certificate; /* DER, of a certificate */
};

struct inventory {
    struct context *context;
    struct uri uri;
    struct pin_source pins;
    struct scan scan;
    bool in_full; /* also uses and certificates */

    struct slot *slot; /* whose items these are */
    struct item *items;
    CK_ULONG count, room;
    bool no_login; /* private objects may be missing: the login failed, for this reason */
    char reason[1024];
    unsigned tokens; /* so far */
    bool failed;     /* words were said of something that failed */
};

/* Parses text. False with words; inventory_end in any case. */
bool inventory_begin(struct inventory *inventory, struct context *context, const char *text,
                     bool in_full);

/* The next token that fits, with its items; what fails on one is told, and the next one's turn.
 * False at the end, also when there was none, with words for that. */
bool inventory_next(struct inventory *inventory);

void inventory_end(struct inventory *inventory);

/* What the item is called: "private key", ... */
const char *item_class(const struct item *item);

/* "EC P-256", "RSA 2048", ...; in buf (size bytes), which is returned. */
const char *item_type(const struct item *item, char *buf, size_t size);

/* Its CKA_LABEL made printable, and its CKA_ID in hexadecimal; "" where there is none. In buf. */
const char *item_label(const struct item *item, char *buf, size_t size);
const char *item_id(const struct item *item, char *buf, size_t size);

/* The URI that leads to it (key_name). The caller frees it with free(). */
char *item_uri(const struct item *item, const struct provider *provider, struct slot *slot);

/* The class, type, label, id and URI of an item, into an object that is open. */
void item_json(struct json *json, const struct item *item, const struct inventory *inventory);

#endif
