/* PKCS#11 URIs, RFC 7512, on top of p11-kit's p11_kit_uri. */
#ifndef BRIDGE_URI_H
#define BRIDGE_URI_H

#include <stdbool.h>
#include <stddef.h>

#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

#include "base/secret.h"

/* The longest URI, in bytes, and how much of one is shown in messages. */
#define URI_MAX       8192
#define URI_SHOWN_MAX 400

struct uri {
    P11KitUri *p11;     /* all of it but the PIN and the module */
    char *text;         /* the URI as it was given, without the PIN: for messages, and cut to fit */
    struct secret *pin; /* pin-value, or NULL */
    char *pin_file;     /* the path that pin-source names, or NULL */
    char *module_path;  /* or NULL */
    bool names_token;   /* an attribute of the token is given */
    bool names_slot;    /* C_GetSlotInfo is needed to match: slot-description, -manufacturer */
    bool names_library; /* C_GetInfo is needed to match: library-* */
    bool names_object;  /* object or id is given */
    char *impossible;   /* why the URI, though well formed, can match nothing; or NULL */
};

/* Parses text, NUL-terminated. Beside RFC 7512 it takes pin-value and pin-source among the path
 * attributes, as older tools write them. module-path and module-name are refused unless
 * allow_module.
 *
 * On failure: false, with a sentence in why (size bytes) that names the attribute but quotes no
 * PIN; *out then holds nothing. */
bool uri_parse(const char *text, bool allow_module, struct uri *out, char *why, size_t size);

/* Frees what uri holds; for _cleanup_(uri_clear). */
void uri_clear(struct uri *uri);

/* Whether the token in slot id fits the attributes for tokens and the slot-id, RFC 7512 §2.5. */
bool uri_matches_token(const struct uri *uri, CK_SLOT_ID id, const CK_TOKEN_INFO *token);
bool uri_matches_slot(const struct uri *uri, const CK_SLOT_INFO *slot);
bool uri_matches_library(const struct uri *uri, const CK_INFO *library);

/* Whether an attribute is given that no two tokens share: serial or slot-id. */
bool uri_names_one_token(const struct uri *uri);

/* Where nothing names a token, the one in slot id is meant. */
void uri_default_slot(struct uri *uri, CK_SLOT_ID id);

/* The attributes to search objects by (CKA_ID, CKA_LABEL), without CKA_CLASS. They belong to uri.
 */
const CK_ATTRIBUTE *uri_id(const struct uri *uri);
const CK_ATTRIBUTE *uri_label(const struct uri *uri);

/* Adds those of the two that the URI has to a template of count attributes. Returns the new count.
 */
CK_ULONG uri_add_names(const struct uri *uri, CK_ATTRIBUTE *template, CK_ULONG count);

/* The class that type= names; false where there is none. */
bool uri_class(const struct uri *uri, CK_OBJECT_CLASS *class);

/* The URI that names exactly one object: its token by label, manufacturer, model and serial number,
 * and its id, label and class. id and label may be empty. NULL when memory is short; the caller
 * frees it with free(). */
char *uri_format(const CK_TOKEN_INFO *token, CK_OBJECT_CLASS class, const void *id, size_t id_len,
                 const void *label, size_t label_len);

/* Copies text to out (size bytes) with each URI in it cut down to what people know a key by: token,
 * and object or, without one, id. */
void uri_shorten(const char *text, char *out, size_t size);

/* The same cut to the token's label, id and object, for people. */
char *uri_format_short(const CK_TOKEN_INFO *token, const void *id, size_t id_len, const void *label,
                       size_t label_len);

#endif
