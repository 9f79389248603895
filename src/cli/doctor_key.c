/* The doctor's steps from the PIN to a signature. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/clock.h"
#include "base/libcrypto.h"
#include "base/scope.h"
#include "base/user.h"
#include "cli/certificate.h"
#include "cli/doctor.h"
#include "cli/key.h"
#include "cli/say.h"
#include "instance/instance.h"
#include "key/load.h"
#include "module/names.h"
#include "pkcs11_bridge.h"
#include "token/run.h"

#define STEP_PIN         "PIN"
#define STEP_LOGIN       "login"
#define STEP_KEY         "key"
#define STEP_USAGE       "usage"
#define STEP_MECHANISMS  "mechanisms"
#define STEP_SIGNATURE   "signature"
#define STEP_CERTIFICATE "certificate"

/* The command writes what is typed: a PIN in an argument is seen by everybody. */
static void advise_pin_file(struct doctor *doctor, const char *path)
{
    advise_run(doctor, "install -m 640 -g %s /dev/stdin '%s'", doctor->group, path);
    advise(doctor, "and type the PIN, Return, and Ctrl-D");
}

/* Beside openssl.cnf, where nothing else says where. */
static void advise_pin(struct doctor *doctor)
{
    const char *slash = strrchr(doctor->file.path, '/');
    char value[4096];

    (void)snprintf(value, sizeof(value), "file:%.*s/pkcs11.pin",
                   slash != NULL ? (int)(slash - doctor->file.path) : 0, doctor->file.path);
    advise_set(doctor, doctor->file.section, PKCS11_BRIDGE_CONF_TOKEN_PIN, value);
    advise_pin_file(doctor, value + strlen("file:"));
}

/* The file that the PIN comes from: what it is like. */
static bool look_at_file(struct doctor *doctor, const char *path)
{
    _cleanup_(secret_scoped) struct secret *pin = NULL;
    char name[USER_NAME_MAX];
    struct stat seen = { .st_mode = 0 };

    if (access(path, R_OK) != 0 && errno == EACCES) {
        found_no_access(doctor, STEP_PIN, "the PIN file", path, R_OK);
        return false;
    }
    if (stat(path, &seen) == 0 && S_ISREG(seen.st_mode) && (seen.st_mode & S_IROTH) != 0) {
        found(doctor, SICK, STEP_PIN, "everybody can read the PIN file %s (mode %04o)", path,
              (unsigned)(seen.st_mode & 07777));
        advise_run(doctor, "chmod o-rwx '%s'", path);
        return true;
    }
    pin = secret_from_file(path);
    if (pin == NULL) {
        found(doctor, SICK, STEP_PIN, "the PIN file %s: %s", path,
              errno == ENODATA  ? "its first line is empty"
              : errno == EILSEQ ? "it is no text: there is a NUL or a byte order mark in it"
                                : strerror(errno));
        advise_pin_file(doctor, path);
        return false;
    }
    found(doctor, WELL, STEP_PIN, "on the first line of %s (mode %04o, of %s)", path,
          (unsigned)(seen.st_mode & 07777), user_name_of(seen.st_uid, name));
    if (strpbrk(secret_data(pin), " \t\r") != NULL) {
        found(doctor, NOTED, STEP_PIN, "there is a blank or a carriage return in the PIN of %s",
              path);
        advise_run(doctor, "sed -i 's/[[:space:]]*$//' '%s'", path);
    }
    return true;
}

/* The file that the PIN of this token comes from, or NULL. */
static const char *pin_file(const struct doctor *doctor)
{
    const struct pin_source *pins = &doctor->inventory.pins;
    const struct pin_config *config = pins->config;

    if (pins->value != NULL || pins->file != NULL)
        return pins->value != NULL ? NULL : pins->file;
    if (config->table != NULL)
        return config->table;
    return config->pin != NULL ? NULL : config->file;
}

bool doctor_pin(struct doctor *doctor)
{
    const struct pin_source *pins = &doctor->inventory.pins;
    const char *file = pin_file(doctor);

    if ((slot_flags(doctor->slot) & CKF_LOGIN_REQUIRED) == 0)
        found(doctor, WELL, STEP_PIN, "the token wants none");
    else if ((slot_flags(doctor->slot) & CKF_PROTECTED_AUTHENTICATION_PATH) != 0)
        found(doctor, WELL, STEP_PIN, "it is typed at the token");
    else if (file != NULL)
        return look_at_file(doctor, file);
    else if (pins->value != NULL)
        found(doctor, NOTED, STEP_PIN,
              "it stands in the URI, which ends up in logs and lists of processes");
    else if (pins->config->pin != NULL)
        found(doctor, WELL, STEP_PIN, "it stands in %s or its environment: who reads that has it",
              doctor->file.path);
    else {
        found(doctor, SICK, STEP_PIN, "nobody says where the PIN of the token '%s' is",
              doctor->slot->token.label);
        advise_pin(doctor);
        return false;
    }
    return true;
}

static CK_RV nothing(struct session *session, void *arg)
{
    (void)session;
    (void)arg;
    return CKR_OK;
}

static CK_RV run_on_token(struct doctor *doctor, session_task *task, void *arg)
{
    struct run run = { .slot = doctor->slot,
                       .purpose = TO_READ,
                       .login = true,
                       .pins = &doctor->inventory.pins,
                       .task = task,
                       .arg = arg };

    return run_task(&run);
}

static bool is_about(CK_RV rv, const CK_RV *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == rv)
            return true;
    return false;
}

static void advise_login(struct doctor *doctor, CK_RV rv)
{
    static const CK_RV wrong[] = { CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE, CKR_PIN_INVALID,
                                   RV_PIN_REFUSED_BEFORE };
    static const CK_RV full[] = { CKR_SESSION_COUNT, RV_SESSIONS_BUSY,
                                  CKR_TOKEN_RESOURCE_EXCEEDED };
    const char *file = pin_file(doctor);

    if (is_about(rv, wrong, COUNT(wrong)) && file != NULL)
        advise_pin_file(doctor, file);
    else if (is_about(rv, wrong, COUNT(wrong)))
        advise_pin(doctor);
    else if (rv == CKR_PIN_LOCKED)
        advise(doctor,
               "unlock it with the security officer's PIN: pkcs11-tool --module %s --slot %lu "
               "--login --login-type so --init-pin",
               doctor->slot->module->path, (unsigned long)slot_id(doctor->slot));
    else if (is_about(rv, full, COUNT(full)))
        advise(
            doctor,
            "see which programs hold the token's sessions, and set " PKCS11_BRIDGE_CONF_SESSIONS_MAX
            " lower in their sections");
    else if (rv == RV_PIN_SOURCE && doctor->call->context.provider->config.pin_most != SECRET_MAX)
        advise_set(doctor, doctor->file.section, PKCS11_BRIDGE_CONF_PIN_MOST, NULL);
    else if (rv == RV_PIN_UNNAMED)
        advise(doctor, "put token=%s in the URI", doctor->slot->token.label);
    else
        advise(doctor, "the token's own log may say why");
}

bool doctor_login(struct doctor *doctor)
{
    uint64_t began = clock_ns();
    CK_RV rv = run_on_token(doctor, nothing, NULL);
    char text[2048];

    if (rv == CKR_OK) {
        found(doctor, WELL, STEP_LOGIN, "C_OpenSession and C_Login, in %.1f ms",
              (double)(clock_ns() - began) / (double)NS_PER_MS);
        return true;
    }
    error_raise_ckr(&doctor->call->context.provider->core, REASON_PIN, rv,
                    "log in to the token '%s'", doctor->slot->token.label);
    found(doctor, SICK, STEP_LOGIN, "%s", error_text("it failed", text, sizeof(text)));
    advise_login(doctor, rv);
    return false;
}

#define KEYS_MOST 256

/* The items of one class that uri names. */
static bool take_inventory(struct doctor *doctor, struct inventory *inventory, const char *uri)
{
    return inventory_begin(inventory, &doctor->call->context, uri, true) &&
           inventory_next(inventory);
}

static void advise_item(struct doctor *doctor, const struct inventory *inventory,
                        const struct item *item)
{
    char *uri = item_uri(item, doctor->call->context.provider, inventory->slot);

    if (uri != NULL)
        advise_uri(doctor, uri);
    free(uri);
}

/* Of all private keys, the one whose label is nearest to the URI's. */
static void advise_nearest(struct doctor *doctor, const struct inventory *all, const char *wanted,
                           bool half)
{
    const char *names[KEYS_MOST];
    char(*labels)[128] = OPENSSL_malloc(sizeof(*labels) * KEYS_MOST);
    const struct item *items[KEYS_MOST];
    size_t count = 0;
    int near;

    for (CK_ULONG i = 0; labels != NULL && i < all->count && count < KEYS_MOST; i++)
        if (all->items[i].class == CKO_PRIVATE_KEY) {
            items[count] = &all->items[i];
            names[count] = item_label(items[count], labels[count], sizeof(labels[count]));
            count++;
        }
    near = count == 1 ? 0 : nearest(wanted, names, count);
    if (near >= 0)
        advise_item(doctor, all, items[near]);
    else if (count != 0)
        advise(doctor, "pkcs11-bridge list shows the %zu private keys that are there", count);
    else if (doctor->uri != NULL)
        advise_run(doctor, "pkcs11-bridge keygen '%s'%s", doctor->inventory.uri.text,
                   half ? " --add" : "");
    OPENSSL_free(labels);
}

static bool has_class(const struct inventory *inventory, CK_OBJECT_CLASS class)
{
    for (CK_ULONG i = 0; i < inventory->count; i++)
        if (inventory->items[i].class == class)
            return true;
    return false;
}

static bool no_key(struct doctor *doctor, const struct inventory *named)
{
    const CK_ATTRIBUTE *label = uri_label(&doctor->inventory.uri);
    struct inventory all;
    char *token = uri_format(&doctor->slot->token.info, CKO_PRIVATE_KEY, NULL, 0, NULL, 0);
    char wanted[128] = "";

    if (label != NULL)
        (void)snprintf(wanted, sizeof(wanted), "%.*s", (int)label->ulValueLen,
                       (const char *)label->pValue);
    found(doctor, SICK, STEP_KEY, "the token '%s' has no private key for %s%s",
          doctor->slot->token.label, doctor->inventory.uri.text,
          has_class(named, CKO_PUBLIC_KEY)    ? ", but a public key: its private half is not there"
          : has_class(named, CKO_CERTIFICATE) ? ", but a certificate: its key is not there"
                                              : "");
    if (token != NULL && take_inventory(doctor, &all, token))
        advise_nearest(doctor, &all, wanted, has_class(named, CKO_PUBLIC_KEY));
    if (token != NULL)
        inventory_end(&all);
    free(token);
    return false;
}

/* What signatures are made with, by the key's type: the first that there is does for most of them.
 */
static const struct {
    CK_KEY_TYPE type;
    CK_MECHANISM_TYPE mechanisms[2];
    unsigned count;
} signing[] = {
    { CKK_RSA, { CKM_RSA_PKCS, CKM_RSA_PKCS_PSS }, 2 },
    { CKK_EC, { CKM_ECDSA }, 1 },
    { CKK_EC_EDWARDS, { CKM_EDDSA }, 1 },
};

/* Whether an item is a private key that signatures can be made with. */
static bool can_sign(const struct item *item)
{
    CK_KEY_TYPE type = attribute_ulong(item->names, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);

    for (size_t i = 0; i < COUNT(signing); i++)
        if (signing[i].type == type)
            return item->class == CKO_PRIVATE_KEY && attribute_bool(item->uses, CKA_SIGN, true);
    return false;
}

/* Of so many keys, one is the one that was meant. */
#define SHOWN_MOST 5

static bool several_keys(struct doctor *doctor, const struct inventory *named, unsigned count)
{
    unsigned shown = 0;

    found(doctor, doctor->uri == NULL ? NOTED : SICK, STEP_KEY, "%s fits %u private keys",
          doctor->inventory.uri.text, count);
    for (CK_ULONG i = 0; i < named->count; i++)
        if (can_sign(&named->items[i]) && shown++ < SHOWN_MOST)
            advise_item(doctor, named, &named->items[i]);
    return doctor->uri == NULL;
}

bool doctor_key(struct doctor *doctor)
{
    struct inventory named;
    const struct item *first = NULL;
    unsigned count = 0;
    char type[64];
    bool ok;

    ok = take_inventory(doctor, &named, doctor->uri != NULL ? doctor->uri : "pkcs11:");
    for (CK_ULONG i = 0; ok && i < named.count; i++)
        if (named.items[i].class == CKO_PRIVATE_KEY && count++ == 0)
            first = &named.items[i];
    if (first == NULL)
        ok = no_key(doctor, &named);
    else if (count > 1)
        ok = several_keys(doctor, &named, count);
    if (ok) {
        doctor->key_type = attribute_ulong(first->names, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
        doctor->key = item_uri(first, doctor->call->context.provider, named.slot);
        found(doctor, WELL, STEP_KEY, "%s: %s", item_type(first, type, sizeof(type)), doctor->key);
    }
    inventory_end(&named);
    return ok;
}

static void print_allowed(struct doctor *doctor, const CK_ATTRIBUTE *allowed)
{
    const CK_MECHANISM_TYPE *list = allowed->pValue;
    char text[512] = "";

    for (CK_ULONG i = 0; i < allowed->ulValueLen / sizeof(*list); i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s",
                       mechanism_name(list[i]));
    found(doctor, NOTED, STEP_USAGE, "it may be used with these mechanisms alone:%s", text);
}

static void advise_new_key(struct doctor *doctor)
{
    char uri[2048];

    (void)snprintf(uri, sizeof(uri), "pkcs11:token=%s;object=signing-key",
                   doctor->slot->token.label);
    advise_run(doctor, "pkcs11-bridge keygen '%s' --usage digitalSignature", uri);
    advise_uri(doctor, uri);
}

bool doctor_usage(struct doctor *doctor)
{
    struct inventory one;
    bool signs = true;

    if (take_inventory(doctor, &one, doctor->key) && one.count != 0) {
        const CK_ATTRIBUTE *allowed = attribute(one.items[0].uses, CKA_ALLOWED_MECHANISMS);

        signs = attribute_bool(one.items[0].uses, CKA_SIGN, true);
        if (signs)
            found(doctor, WELL, STEP_USAGE, "it may sign%s%s",
                  attribute_bool(one.items[0].uses, CKA_DECRYPT, false) ? ", decrypt" : "",
                  attribute_bool(one.items[0].uses, CKA_DERIVE, false) ? ", derive" : "");
        if (allowed != NULL)
            print_allowed(doctor, allowed);
    }
    inventory_end(&one);
    if (signs)
        return true;
    found(doctor, SICK, STEP_USAGE,
          "the key may not sign: its CKA_SIGN is off, which few tokens let anybody change");
    advise_new_key(doctor);
    return false;
}

static void look_at_mechanisms(struct doctor *doctor, const CK_MECHANISM_TYPE *list, unsigned count)
{
    unsigned there = 0;

    for (unsigned i = 0; i < count; i++) {
        bool has = false;

        (void)run_mechanism(doctor->slot, list[i], CKF_SIGN, &has);
        there += has;
        if (!has)
            found(doctor, i == 0 ? SICK : NOTED, STEP_MECHANISMS,
                  "the token does not sign with %s (C_GetMechanismInfo)", mechanism_name(list[i]));
    }
    if (there == count)
        found(doctor, WELL, STEP_MECHANISMS, "the token signs with %s%s%s", mechanism_name(list[0]),
              count > 1 ? " and " : "", count > 1 ? mechanism_name(list[1]) : "");
    else if (there == 0)
        advise(doctor,
               "use a key of another type; pkcs11-tool --module %s --slot %lu "
               "--list-mechanisms shows what the token has",
               doctor->slot->module->path, (unsigned long)slot_id(doctor->slot));
}

bool doctor_mechanisms(struct doctor *doctor)
{
    for (size_t i = 0; i < COUNT(signing); i++)
        if (signing[i].type == doctor->key_type)
            look_at_mechanisms(doctor, signing[i].mechanisms, signing[i].count);
    return true;
}

#define MS(ns) ((double)(ns) / (double)NS_PER_MS)

/* A certificate has the public half in it. */
static void advise_certificate(struct doctor *doctor)
{
    if (doctor->certificate != NULL)
        advise_run(doctor, "pkcs11-bridge import-cert '%s' '%s' --without-key", doctor->key,
                   doctor->certificate);
    else
        advise(doctor,
               "store the key's certificate beside it: pkcs11-bridge import-cert '%s' "
               "CERTIFICATE --without-key",
               doctor->key);
}

bool doctor_signature(struct doctor *doctor)
{
    unsigned long long sign_ns = 0, verify_ns = 0;
    _cleanup_(pkey_scoped) EVP_PKEY *pkey = key_open(&doctor->call->context, doctor->key);
    char text[2048];

    if (pkey != NULL && key_prove(&doctor->call->context, pkey, &sign_ns, &verify_ns)) {
        found(doctor, WELL, STEP_SIGNATURE, "made in %.2f ms, and verified in %.2f ms", MS(sign_ns),
              MS(verify_ns));
        return true;
    }
    found(doctor, SICK, STEP_SIGNATURE, "%s",
          error_text("the signature does not verify: the public half on the token is another key's",
                     text, sizeof(text)));
    if (strstr(text, "its public half is not on the token") != NULL)
        advise_certificate(doctor);
    else
        advise(doctor,
               "run: PKCS11_PROVIDER_DEBUG=file:/dev/stderr pkcs11-bridge health '%s' (it shows "
               "each call of the module)",
               doctor->key);
    return false;
}

/* The private key of the token that the certificate is for. */
static bool find_key_of(struct doctor *doctor, const X509 *certificate, const char *uri, char *name,
                        size_t size)
{
    struct bytes none = { NULL, 0 };
    struct load load;
    struct key *key = NULL;
    bool fits = false;

    if (load_begin(&load, doctor->call->context.provider, uri)) {
        load_want(&load, LOAD_PRIVATE);
        while (!fits && load_next(&load, &key, &none) == LOAD_KEY) {
            fits = certificate_fits(certificate, key);
            (void)key_name(key, name, size);
            key_free(key);
        }
    }
    load_end(&load);
    ERR_clear_error();
    return fits;
}

static bool is_in_time(struct doctor *doctor, const X509 *certificate)
{
    int begins = X509_cmp_current_time(X509_get0_notBefore(certificate));
    int ends = X509_cmp_current_time(X509_get0_notAfter(certificate));
    time_t now = time(NULL);
    char text[64];

    (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", gmtime(&now));
    if (begins > 0) {
        found(doctor, SICK, STEP_CERTIFICATE, "%s is not valid yet; the clock here says %s",
              doctor->certificate, text);
        advise(doctor, "set the clock, or wait");
    } else if (ends < 0) {
        found(doctor, SICK, STEP_CERTIFICATE, "%s is not valid any more; the clock here says %s",
              doctor->certificate, text);
        advise(doctor, "set the clock, or have it renewed: pkcs11-bridge csr '%s' --subject ...",
               doctor->key);
    }
    return begins <= 0 && ends >= 0;
}

bool doctor_certificate(struct doctor *doctor)
{
    _cleanup_(x509_scoped) X509 *certificate = NULL;
    char name[2048];

    if (doctor->certificate == NULL)
        return true;
    certificate = certificate_read(doctor->certificate);
    if (certificate == NULL) {
        found(doctor, SICK, STEP_CERTIFICATE, "%s cannot be read as a certificate",
              doctor->certificate);
        advise(doctor, "name a file with a certificate, in PEM or DER, after --cert");
        return false;
    }
    if (find_key_of(doctor, certificate, doctor->key, name, sizeof(name))) {
        if (is_in_time(doctor, certificate))
            found(doctor, WELL, STEP_CERTIFICATE, "%s is for this key", doctor->certificate);
        return true;
    }
    found(doctor, SICK, STEP_CERTIFICATE, "%s is for another key", doctor->certificate);
    if (find_key_of(doctor, certificate, "pkcs11:type=private", name, sizeof(name)))
        advise_uri(doctor, name);
    else
        advise(doctor,
               "no key on the token fits it: have one made for this key (pkcs11-bridge csr)");
    return false;
}
