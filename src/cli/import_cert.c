/* pkcs11-bridge import-cert: a certificate stored beside its key. */
#include <stdlib.h>
#include <string.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/certificate.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/say.h"
#include "cli/token.h"
#include "key/load.h"
#include "key/open.h"
#include "token/run.h"

enum { ANY_KEY };
static const struct option_row options[] = {
    [ANY_KEY] = { "without-key", NULL, "also where the token has no private key that it is for" },
    { NULL, NULL, NULL },
};

struct import {
    struct call *call;
    X509 *certificate;
    struct uri uri;
    struct pin_source pins;
    struct slot *slot;
    struct bytes der, subject, issuer, serial, id, label;
    bool there; /* already */
};

static bool take_names(struct import *import, const struct object *object)
{
    return (import->id.data != NULL || object->id.data == NULL ||
            bytes_set(&import->id, object->id.data, object->id.len)) &&
           (import->label.data != NULL || object->label.data == NULL ||
            bytes_set(&import->label, object->label.data, object->label.len));
}

/* Whether the token has a private key that the certificate is for, whose id and label it gets,
 * where the URI has none. */
static bool find_key(struct import *import)
{
    CK_TOKEN_INFO *info = &import->slot->token.info;
    char *text = uri_format(info, CKO_PRIVATE_KEY, NULL, 0, NULL, 0);
    struct bytes none = { NULL, 0 };
    struct key *key = NULL;
    struct load load;
    bool found = false;

    if (text != NULL && load_begin(&load, import->call->context.provider, text)) {
        load.pins = import->pins;
        load_want(&load, LOAD_PRIVATE);
        while (!found && load_next(&load, &key, &none) == LOAD_KEY) {
            found = certificate_fits(import->certificate, key) && take_names(import, key->object);
            key_free(key);
        }
        load_end(&load);
    }
    free(text);
    return found;
}

#define ENCODE(object, encode, out)                                                                \
    __extension__({                                                                                \
        unsigned char *encoded_ = NULL;                                                            \
        int len_ = encode(object, &encoded_);                                                      \
        bool ok_ = len_ > 0 && bytes_set(out, encoded_, (size_t)len_);                             \
                                                                                                   \
        OPENSSL_free(encoded_);                                                                    \
        ok_;                                                                                       \
    })

static bool take_uri_names(struct import *import)
{
    const CK_ATTRIBUTE *id = uri_id(&import->uri), *label = uri_label(&import->uri);

    return (id == NULL || bytes_set(&import->id, id->pValue, id->ulValueLen)) &&
           (label == NULL || bytes_set(&import->label, label->pValue, label->ulValueLen));
}

static bool encode(struct import *import)
{
    const X509 *certificate = import->certificate;

    return ENCODE(certificate, i2d_X509, &import->der) &&
           ENCODE(X509_get_subject_name(certificate), i2d_X509_NAME, &import->subject) &&
           ENCODE(X509_get_issuer_name(certificate), i2d_X509_NAME, &import->issuer) &&
           ENCODE(X509_get0_serialNumber(certificate), i2d_ASN1_INTEGER, &import->serial);
}

static void add(CK_ATTRIBUTE *template, CK_ULONG *count, CK_ATTRIBUTE_TYPE type,
                const struct bytes *value)
{
    if (value->data != NULL)
        template[(*count)++] = (CK_ATTRIBUTE){ type, value->data, value->len };
}

/* PKCS#11 v3.1 §4.6.3. The same certificate is not stored twice. */
static CK_RV store(struct session *session, void *arg)
{
    struct import *import = arg;
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_CERTIFICATE_TYPE type = CKC_X_509;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[16] = { { CKA_CLASS, &class, sizeof(class) } };
    CK_ULONG count = 1, found = 0;
    struct handle handle;
    CK_RV rv;

    add(template, &count, CKA_VALUE, &import->der);
    add(template, &count, CKA_ID, &import->id);
    rv = session_find(session, template, count, &handle, 1, &found);
    import->there = found != 0;
    if (rv != CKR_OK || import->there)
        return rv;
    template[count++] = (CK_ATTRIBUTE){ CKA_CERTIFICATE_TYPE, &type, sizeof(type) };
    template[count++] = (CK_ATTRIBUTE){ CKA_TOKEN, &yes, sizeof(yes) };
    template[count++] = (CK_ATTRIBUTE){ CKA_PRIVATE, &no, sizeof(no) };
    add(template, &count, CKA_LABEL, &import->label);
    add(template, &count, CKA_SUBJECT, &import->subject);
    add(template, &count, CKA_ISSUER, &import->issuer);
    add(template, &count, CKA_SERIAL_NUMBER, &import->serial);
    session->committed = true; /* a second try would make a second one */
    rv = session_create(session, template, count, &handle);
    slot_changed(session->slot);
    return rv;
}

static bool store_it(struct import *import)
{
    struct run run = { .slot = import->slot,
                       .purpose = TO_WRITE,
                       .login = true,
                       .pins = &import->pins,
                       .task = store,
                       .arg = import };
    CK_RV rv = run_task(&run);

    if (rv != CKR_OK)
        error_raise_ckr(&import->call->context.provider->core, REASON_OPERATION, rv,
                        "store a certificate at %s", import->uri.text);
    return rv == CKR_OK;
}

static void report(const struct import *import)
{
    const struct provider *provider = import->call->context.provider;
    CK_TOKEN_INFO info = key_token_name(provider, import->slot);
    char *uri = uri_format(&info, CKO_CERTIFICATE, import->id.data, import->id.len,
                           import->label.data, import->label.len);
    struct json json = { .out = stdout };

    if (import->call->json) {
        json_object(&json, NULL);
        json_text(&json, "uri", uri);
        json_bool(&json, "there_before", import->there);
        json_end(&json);
    } else {
        (void)printf("%s%s\n", uri != NULL ? uri : "", import->there ? " was there before" : "");
    }
    free(uri);
}

static bool has_place(struct import *import)
{
    if (find_key(import) || call_option(import->call, ANY_KEY) != NULL)
        return import->id.data != NULL || import->label.data != NULL ||
               (complain("the URI has neither object nor id, and no key has one for it"), false);
    complain_openssl("the token has no private key that the certificate is for (--without-key "
                     "stores it all the same)");
    return false;
}

static bool import_it(struct import *import)
{
    if (!open_uri(import->call->context.provider, import->call->operands[0], "the URI",
                  &import->uri, &import->pins) ||
        !token_find(&import->call->context, &import->uri, "store a certificate at",
                    &import->slot)) {
        complain_openssl("there is no token");
        return false;
    }
    context_ask(&import->pins);
    if (!encode(import) || !take_uri_names(import)) {
        complain_openssl("the certificate cannot be encoded");
        return false;
    }
    if (!has_place(import))
        return false;
    if (!store_it(import))
        complain_openssl("the certificate could not be stored");
    else
        report(import);
    return true;
}

static void import_clear(struct import *import)
{
    struct bytes *const all[] = { &import->der,    &import->subject, &import->issuer,
                                  &import->serial, &import->id,      &import->label };

    for (size_t i = 0; i < COUNT(all); i++)
        bytes_clear(all[i]);
    uri_clear(&import->uri);
}

static enum status import_cert(struct call *call)
{
    _cleanup_(x509_scoped) X509 *certificate = certificate_read(call->operands[1]);
    struct import import = { .call = call, .certificate = certificate };
    bool ok = certificate != NULL && import_it(&import);

    import_clear(&import);
    return ok ? STATUS_DONE : STATUS_FAILED;
}

const struct subcommand import_cert_subcommand = {
    .name = "import-cert",
    .operands = "URI FILE",
    .least = 2,
    .most = 2,
    .summary = "Stores a certificate on the token, with the id and label of the key that it is for",
    .options = options,
    .run = import_cert,
};
