/* pkcs11-bridge show: one object, and all that may be shown of it. */
#include <stdlib.h>

#include <openssl/x509.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/cli.h"
#include "cli/inventory.h"
#include "cli/json.h"
#include "cli/say.h"
#include "module/names.h"

/* A line or a member of the JSON object. */
static void put(struct json *json, const char *name, const char *value)
{
    if (json != NULL)
        json_text(json, name, value);
    else
        (void)printf("%-16s %s\n", name, value);
}

static void put_bool(struct json *json, const char *name, bool value)
{
    if (json != NULL)
        json_bool(json, name, value);
    else
        (void)printf("%-16s %s\n", name, value ? "yes" : "no");
}

static void put_uses(struct json *json, const struct item *item)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *name;
    } rows[] = {
        { CKA_SIGN, "sign" },
        { CKA_VERIFY, "verify" },
        { CKA_DECRYPT, "decrypt" },
        { CKA_ENCRYPT, "encrypt" },
        { CKA_DERIVE, "derive" },
        { CKA_WRAP, "wrap" },
        { CKA_UNWRAP, "unwrap" },
        { CKA_PRIVATE, "private" },
        { CKA_SENSITIVE, "sensitive" },
        { CKA_EXTRACTABLE, "extractable" },
        { CKA_LOCAL, "made on token" },
        { CKA_MODIFIABLE, "modifiable" },
        { CKA_ALWAYS_AUTHENTICATE, "login each use" },
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        if (attribute(item->uses, rows[i].type) != NULL)
            put_bool(json, rows[i].name, attribute_bool(item->uses, rows[i].type, false));
}

static void put_allowed(struct json *json, const struct item *item)
{
    const CK_ATTRIBUTE *allowed = attribute(item->uses, CKA_ALLOWED_MECHANISMS);
    const CK_MECHANISM_TYPE *list = allowed != NULL ? allowed->pValue : NULL;

    if (json != NULL)
        json_array(json, "allowed");
    for (CK_ULONG i = 0; allowed != NULL && i < allowed->ulValueLen / sizeof(*list); i++)
        if (json != NULL)
            json_text(json, NULL, mechanism_name(list[i]));
        else
            put(NULL, "allowed", mechanism_name(list[i]));
    if (json != NULL)
        json_end(json);
}

static void x509_free(X509 **certificate)
{
    X509_free(*certificate);
}

static void put_bio(struct json *json, const char *name, BIO *bio)
{
    char *text = NULL;

    (void)BIO_write(bio, "", 1);
    if (BIO_get_mem_data(bio, &text) > 0)
        put(json, name, text);
    (void)BIO_reset(bio);
}

static void put_fingerprint(struct json *json, const X509 *certificate)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned len = 0;

    if (X509_digest(certificate, EVP_sha256(), digest, &len) != 1)
        return;
    for (unsigned i = 0; i < len; i++)
        (void)snprintf(text + 2 * (size_t)i, 3, "%02x", digest[i]);
    put(json, "sha256", text);
}

static void put_certificate(struct json *json, const struct item *item)
{
    const unsigned char *der = item->certificate.data;
    _cleanup_(x509_free) X509 *certificate =
        der != NULL ? d2i_X509(NULL, &der, (long)item->certificate.len) : NULL;
    _cleanup_(bio_scoped) BIO *bio = BIO_new(BIO_s_mem());

    if (certificate == NULL || bio == NULL)
        return;
    (void)X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
    put_bio(json, "subject", bio);
    (void)X509_NAME_print_ex(bio, X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253);
    put_bio(json, "issuer", bio);
    (void)i2a_ASN1_INTEGER(bio, X509_get0_serialNumber(certificate));
    put_bio(json, "serial", bio);
    (void)ASN1_TIME_print(bio, X509_get0_notBefore(certificate));
    put_bio(json, "not before", bio);
    (void)ASN1_TIME_print(bio, X509_get0_notAfter(certificate));
    put_bio(json, "not after", bio);
    put_fingerprint(json, certificate);
}

static void put_names(const struct item *item, const struct inventory *inventory)
{
    char *uri = item_uri(item, inventory->context->provider, inventory->slot);
    char text[256];

    put(NULL, "class", item_class(item));
    put(NULL, "type", item_type(item, text, sizeof(text)));
    put(NULL, "label", item_label(item, text, sizeof(text)));
    put(NULL, "id", item_id(item, text, sizeof(text)));
    put(NULL, "uri", uri != NULL ? uri : "");
    free(uri);
}

static void put_item(const struct item *item, const struct inventory *inventory, struct json *json)
{
    if (json != NULL) {
        json_object(json, NULL);
        item_json(json, item, inventory);
    } else {
        put_names(item, inventory);
    }
    put(json, "token", inventory->slot->token.label);
    put_uses(json, item);
    put_allowed(json, item);
    put_certificate(json, item);
    if (json != NULL)
        json_end(json);
}

static enum status put_one(struct call *call, struct inventory *inventory)
{
    struct json json = { .out = stdout };
    CK_ULONG shown = 0;

    while (inventory_next(inventory)) {
        for (CK_ULONG i = 0; i < inventory->count; i++) {
            if (shown++ != 0 && !call->json)
                (void)putchar('\n');
            put_item(&inventory->items[i], inventory, call->json ? &json : NULL);
        }
        if (shown == 0 && inventory->no_login)
            complain("%s", inventory->reason);
    }
    if (shown == 0 && !inventory->failed)
        complain("nothing matches %s on %s: " PROGRAM " list shows what is there",
                 inventory->uri.text, inventory->scan.seen);
    return shown != 0 && !inventory->failed ? STATUS_DONE : STATUS_FAILED;
}

static enum status show(struct call *call)
{
    struct inventory inventory;
    enum status status = STATUS_FAILED;

    if (inventory_begin(&inventory, &call->context, call->operands[0], true)) {
        if (inventory.uri.names_object)
            status = put_one(call, &inventory);
        else
            complain("%s names no object: object= or id= is missing; " PROGRAM
                     " list shows what is there",
                     inventory.uri.text);
    }
    inventory_end(&inventory);
    return status;
}

const struct subcommand show_subcommand = {
    .name = "show",
    .operands = "URI",
    .least = 1,
    .most = 1,
    .summary = "Shows an object and what it may be used for",
    .run = show,
};
