#include "key/load_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "key/open.h"
#include "module/ckr.h"

static const char *kind(const struct load *load)
{
    CK_OBJECT_CLASS class = CKO_DATA;

    if (load->want == LOAD_PRIVATE)
        return "private key";
    if (load->want == LOAD_PUBLIC)
        return "public key";
    if (load->want == LOAD_CERTIFICATE)
        return "certificate";
    if (load->want == LOAD_SECRET)
        return "secret key";
    (void)uri_class(&load->uri, &class);
    return class == CKO_PRIVATE_KEY   ? "private key"
           : class == CKO_PUBLIC_KEY  ? "public key"
           : class == CKO_CERTIFICATE ? "certificate"
                                      : "key";
}

static enum reason reason_of(const struct load *load)
{
    static const CK_RV of_pins[] = { RV_PIN_MISSING, RV_PIN_REFUSED_BEFORE, RV_PIN_FINAL_TRY,
                                     RV_PIN_SOURCE,  RV_PIN_UNNAMED,        RV_LOGIN_FAILED };

    for (size_t i = 0; i < COUNT(of_pins); i++)
        if (load->failure == of_pins[i])
            return REASON_PIN;
    if (load->failure == RV_HOST_LACKS)
        return REASON_CONFIGURATION;
    if (strcmp(load->failed_call, "C_Login") == 0)
        return REASON_PIN;
    return load->failure == RV_TOKEN_GONE ? REASON_TOKEN : REASON_TOKEN_FAILED;
}

/* The command that lists what is there: on the one token that was looked at, or on all. People
 * paste it into a shell, and the label is whatever somebody gave the token: in its URI, all that a
 * shell or a URI could take for its own is percent-encoded. */
static const char *listing(const struct scan *scan, char *buf, size_t size)
{
    char *uri = scan->seen_count == 1
                    ? uri_format_short(&scan->seen_first->token.info, NULL, 0, NULL, 0)
                    : NULL;

    (void)snprintf(buf, size, "openssl storeutl -noout -text '%s'", uri != NULL ? uri : "pkcs11:");
    free(uri);
    return buf;
}

/* Programs look for certificates that may not be there, OSSL_STORE_find(3). */
static bool is_search(const struct load *load)
{
    return load->subject.data != NULL || load->issuer.data != NULL || load->serial.data != NULL ||
           load->alias.data != NULL;
}

void load_raise_failure(const struct load *load, enum reason reason, CK_RV rv)
{
    bool blind = ckr_is_blind(call_name(), rv);
    char waited[SCAN_WAITED_MAX];

    error_raise_ckr(&load->provider->core, reason, rv, "open %s%s%s%s", load->uri.text,
                    blind ? " in " : "", blind ? load->scan.module->path : "",
                    scan_tell_waited(&load->scan, waited));
}

void load_raise_nothing(const struct load *load)
{
    const struct core *core = &load->provider->core;
    char command[SCAN_SEEN_MAX + 64];

    if (load->failure != CKR_OK) {
        call_named(load->failed_call);
        call_detail_set("%s", load->failed_detail);
        load_raise_failure(load, reason_of(load), load->failure);
    } else if (load->scan.matched == 0) {
        open_raise_no_token(load->provider, &load->uri, &load->scan);
    } else if (load->unusable != NULL) {
        error_raise(core, REASON_KEY, "cannot use %s: %s", load->uri.text, load->unusable);
    } else {
        error_raise(core, is_search(load) ? REASON_SEARCH : REASON_OBJECT,
                    "no %s matches %s on the token %s: %s lists what is there", kind(load),
                    load->uri.text, load->scan.seen,
                    listing(&load->scan, command, sizeof(command)));
    }
}
