/* The doctor's steps from the module's file to the token. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "base/environment.h"
#include "base/scope.h"
#include "base/text.h"
#include "base/user.h"
#include "cli/child.h"
#include "cli/doctor.h"
#include "cli/say.h"
#include "instance/instance.h"
#include "key/open.h"
#include "pkcs11_bridge.h"

#define STEP_MODULE "module"
#define STEP_START  "start"
#define STEP_TOKEN  "token"

/* Where distributions and vendors put modules. */
static const char *const places[] = {
    "/usr/lib/*/softhsm/*.so",
    "/usr/lib/softhsm/*.so",
    "/usr/lib/*/pkcs11/*.so",
    "/usr/lib64/pkcs11/*.so",
    "/usr/lib/*/opencryptoki/libopencryptoki.so",
    "/usr/lib/*/opensc-pkcs11.so",
    "/usr/lib/*/libpkcs11-proxy.so",
    "/usr/lib/*/libtpm2_pkcs11.so",
    "/opt/*/lib/*pkcs11*.so",
    "/usr/local/lib/softhsm/*.so",
};

enum elf_kind { ELF_OURS, ELF_OTHER, ELF_NONE };

/* Whether a file is a library for programs like this one. */
static enum elf_kind kind_of(const char *path)
{
    _cleanup_(fd_scoped) int fd = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_(fd_scoped) int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    Elf64_Ehdr its = { 0 }, own = { 0 }; /* begins as Elf32_Ehdr does, up to e_machine */
    size_t len = offsetof(Elf64_Ehdr, e_version);

    if (fd < 0 || read(fd, &its, len) != (ssize_t)len || memcmp(its.e_ident, ELFMAG, SELFMAG) != 0)
        return ELF_NONE;
    if (self < 0 || read(self, &own, len) != (ssize_t)len)
        return ELF_OURS;
    return its.e_ident[EI_CLASS] == own.e_ident[EI_CLASS] && its.e_machine == own.e_machine
               ? ELF_OURS
               : ELF_OTHER;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* The module of this machine whose name is nearest to that of path. */
static bool find_module(const char *path, char *out, size_t size)
{
    const char *names[64];
    size_t count = 0;
    glob_t found_all = { 0 };
    int at;

    for (size_t i = 0; i < COUNT(places); i++)
        (void)glob(places[i], i != 0 ? GLOB_APPEND : 0, NULL, &found_all);
    for (size_t i = 0; i < found_all.gl_pathc && count < COUNT(names); i++)
        if (kind_of(found_all.gl_pathv[i]) == ELF_OURS)
            names[count++] = found_all.gl_pathv[i];
    at = count == 1 ? 0 : -1;
    for (size_t i = 0; at < 0 && i < count; i++) {
        const char *name = base_name(names[i]);

        if (nearest(base_name(path), &name, 1) == 0)
            at = (int)i;
    }
    if (at >= 0)
        (void)snprintf(out, size, "%s", names[at]);
    globfree(&found_all);
    return at >= 0;
}

/* The module is to be another file, if it is known which. */
static void advise_module(struct doctor *doctor, const char *path)
{
    const char *variable = environment(PKCS11_BRIDGE_ENV_MODULE);
    char other[4096];
    bool known = find_module(path, other, sizeof(other));

    if (variable != NULL && variable[0] != '\0')
        advise_run(doctor, "unset " PKCS11_BRIDGE_ENV_MODULE);
    else if (known)
        advise_set(doctor, doctor->file.section, PKCS11_BRIDGE_CONF_MODULE_PATH, other);
    else
        advise(doctor, "set " PKCS11_BRIDGE_CONF_MODULE_PATH
                       " to the vendor's PKCS#11 module; its package or manual says where it is");
}

/* What others can change on the way: each of them, since one after the other is no help. */
static void advise_trust(struct doctor *doctor, const char *path)
{
    char part[4096];

    for (size_t i = 1; i < sizeof(part); i++) {
        struct stat seen;

        if (path[i] != '/' && path[i] != '\0')
            continue;
        (void)snprintf(part, sizeof(part), "%.*s", (int)i, path);
        if (stat(part, &seen) == 0 && (seen.st_mode & 022) != 0)
            advise_run(doctor, "chmod go-w '%s'", part);
        if (stat(part, &seen) == 0 && seen.st_uid != 0 && seen.st_uid != geteuid())
            advise_run(doctor, "chown root '%s'", part);
        if (path[i] == '\0')
            return;
    }
}

/* What is wrong with the file, before anybody tries to load it. */
static bool is_file_well(struct doctor *doctor, const char *path)
{
    struct stat seen;

    if (path[0] != '/') {
        found(doctor, SICK, STEP_MODULE, "%s is no absolute path", path);
    } else if (access(path, R_OK) != 0 && errno == EACCES) {
        found_no_access(doctor, STEP_MODULE, "the PKCS#11 module", path, R_OK);
        return false;
    } else if (stat(path, &seen) != 0) {
        found(doctor, SICK, STEP_MODULE, "%s: %s", path, strerror(errno));
    } else if (kind_of(path) == ELF_OTHER) {
        found(doctor, SICK, STEP_MODULE,
              "%s is for another kind of processor than programs here (32 instead of 64 bits, say)",
              path);
    } else if (kind_of(path) == ELF_NONE) {
        found(doctor, SICK, STEP_MODULE, "%s is no library", path);
    } else {
        return true;
    }
    advise_module(doctor, path);
    return false;
}

/* In the child: a file that ends too early takes the process along that loads it. */
static int try_module(const void *arg, int fd)
{
    const struct doctor *doctor = arg;

    (void)fd;
    (void)provider_module(doctor->call->context.provider, NULL);
    return 0;
}

bool doctor_module(struct doctor *doctor)
{
    struct provider *provider = doctor->call->context.provider;
    const char *path = provider->config.module_path;
    char text[2048];

    if (!is_file_well(doctor, path))
        return false;
    if (!child_run(try_module, doctor, text, sizeof(text))) {
        found(doctor, SICK, STEP_MODULE, "%s cannot be loaded: %s", path, text);
        advise(doctor, "install the module's package anew: the file is damaged");
        return false;
    }
    if (provider_module(provider, NULL) != NULL) {
        found(doctor, WELL, STEP_MODULE,
              "%s can be loaded, and only root and its user can change it", path);
        return true;
    }
    found(doctor, SICK, STEP_MODULE, "%s", error_text("it does not load", text, sizeof(text)));
    if (strstr(text, "no C_GetFunctionList") != NULL)
        advise_module(doctor, path);
    else if (strstr(text, PKCS11_BRIDGE_CONF_MODULE_SHA256) != NULL)
        advise(doctor,
               "where the module was updated: set " PKCS11_BRIDGE_CONF_MODULE_SHA256
               " to what sha256sum '%s' says; where it was not, find out who changed it",
               path);
    else
        advise_trust(doctor, path);
    return false;
}

/* SoftHSM says no more than CKR_GENERAL_ERROR of what it cannot read. */
static bool look_at_softhsm(struct doctor *doctor)
{
    const char *path = environment("SOFTHSM2_CONF");
    char line[4096], tokens[4096] = "";
    FILE *file;

    if (path == NULL)
        path = "/etc/softhsm/softhsm2.conf";
    if (access(path, R_OK) != 0) {
        found_no_access(doctor, STEP_START, "SoftHSM's configuration", path, R_OK);
        if (access(path, F_OK) != 0)
            advise_run(doctor, "unset SOFTHSM2_CONF");
        return true;
    }
    file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "directories.tokendir = %4095s", tokens);
    if (file != NULL)
        (void)fclose(file);
    if (tokens[0] == '\0' || access(tokens, R_OK | W_OK | X_OK) == 0)
        return false;
    found_no_access(doctor, STEP_START, "SoftHSM's folder of tokens", tokens, R_OK | W_OK);
    if (access(tokens, F_OK) == 0)
        advise_run(doctor, "chgrp -R %s '%s' && chmod -R g+rwX '%s'", doctor->group, tokens,
                   tokens);
    return true;
}

/* p11-kit's client shows no token, or fails, where its server does not run. */
static bool look_at_p11_kit(struct doctor *doctor)
{
    const char *address = environment("P11_KIT_SERVER_ADDRESS");
    const char *path = address != NULL ? strstr(address, "path=") : NULL;

    if (path == NULL || access(path + 5, F_OK) == 0)
        return false;
    found(
        doctor, SICK, STEP_START,
        "p11-kit's server is not there: P11_KIT_SERVER_ADDRESS names the socket %s, which does not "
        "exist",
        path + 5);
    advise_run(doctor, "p11-kit server --name '%s' pkcs11:", path + 5);
    return true;
}

static const struct {
    const char *part; /* of the module's name */
    bool (*look)(struct doctor *doctor);
} known_modules[] = {
    { "softhsm", look_at_softhsm },
    { "p11-kit-client", look_at_p11_kit },
};

static bool look_at_module(struct doctor *doctor, const char *path)
{
    for (size_t i = 0; i < COUNT(known_modules); i++)
        if (strstr(base_name(path), known_modules[i].part) != NULL)
            return known_modules[i].look(doctor);
    return false;
}

static bool not_started(struct doctor *doctor, const struct module *module, CK_RV rv)
{
    char text[2048];

    error_raise_ckr(&doctor->call->context.provider->core, REASON_MODULE, rv, "start %s",
                    module->path);
    (void)error_text("it does not start", text, sizeof(text));
    if (look_at_module(doctor, module->path))
        return false;
    found(doctor, SICK, STEP_START, "%s", text);
    advise(doctor,
           "look at the module's own configuration and log: what it connects to, and as whom");
    return false;
}

static void trimmed(const CK_UTF8CHAR *text, size_t len, char *out)
{
    while (len != 0 && (text[len - 1] == ' ' || text[len - 1] == '\0'))
        len--;
    text_printable(text, len, out);
}

bool doctor_start(struct doctor *doctor)
{
    struct module *module = provider_module(doctor->call->context.provider, NULL);
    char maker[33], name[33];
    CK_INFO info;
    CK_RV rv = module_start(module);

    if (rv == CKR_OK)
        rv = module_info(module, &info);
    if (rv != CKR_OK)
        return not_started(doctor, module, rv);
    trimmed(info.manufacturerID, sizeof(info.manufacturerID), maker);
    trimmed(info.libraryDescription, sizeof(info.libraryDescription), name);
    found(doctor, WELL, STEP_START,
          "C_Initialize and C_GetInfo: %s, %s, version %u.%u, PKCS#11 %u.%u", maker, name,
          info.libraryVersion.major, info.libraryVersion.minor, info.cryptokiVersion.major,
          info.cryptokiVersion.minor);
    return true;
}

/* p11-kit's own configuration of a module that it does not show to this program. */
static void look_for_disabled(struct doctor *doctor)
{
    static const char *const files[] = { "/etc/pkcs11/modules/*.module",
                                         "/usr/share/p11-kit/modules/*.module" };
    glob_t all = { 0 };
    char line[512];

    for (size_t i = 0; i < COUNT(files); i++)
        (void)glob(files[i], i != 0 ? GLOB_APPEND : 0, NULL, &all);
    for (size_t i = 0; i < all.gl_pathc; i++) {
        FILE *file = fopen(all.gl_pathv[i], "r");

        while (file != NULL && fgets(line, sizeof(line), file) != NULL)
            if (strncmp(line, "enable-in:", 10) == 0 || strncmp(line, "disable-in:", 11) == 0) {
                line[strcspn(line, "\n")] = '\0';
                found(doctor, NOTED, STEP_TOKEN,
                      "p11-kit keeps a module to some programs: %s has %s", all.gl_pathv[i], line);
                advise_run(doctor, "sed -i '/^%.*s:/d' '%s'", (int)strcspn(line, ":"), line,
                           all.gl_pathv[i]);
            }
        if (file != NULL)
            (void)fclose(file);
    }
    globfree(&all);
}

/* The URI with another label for the token; to be freed with OPENSSL_free. */
static char *with_token(const char *uri, const char *label, const char *more)
{
    const char *begins = strstr(uri, "token=");
    size_t before = begins != NULL ? (size_t)(begins - uri) : strlen("pkcs11:");
    const char *after = begins != NULL ? begins + strcspn(begins, ";?") : uri + before;
    CK_TOKEN_INFO info = { .flags = 0 };
    char *part;
    size_t size = strlen(uri) + strlen(more) + 512;
    char *out = OPENSSL_malloc(size);

    memset(info.label, ' ', sizeof(info.label));
    memcpy(info.label, label, strnlen(label, sizeof(info.label)));
    part = uri_format_short(&info, NULL, 0, NULL, 0);
    if (out != NULL && part != NULL)
        (void)snprintf(out, size, "%.*s%s%s%s%s", (int)before, uri, part + strlen("pkcs11:"), more,
                       begins == NULL && after[0] != '\0' && after[0] != '?' ? ";" : "", after);
    free(part);
    return out;
}

#define TOKENS_MOST 32

/* All tokens of the module that are initialised. */
static size_t all_tokens(struct doctor *doctor, struct slot **slots)
{
    struct provider *provider = doctor->call->context.provider;
    _cleanup_(uri_clear) struct uri any = { 0 };
    struct scan scan;
    struct slot *slot = NULL;
    size_t count = 0;
    char why[256];

    if (!uri_parse("pkcs11:", false, &any, why, sizeof(why)))
        return 0;
    scan_begin(&scan, provider_module(provider, NULL), &any, &provider->config.limits);
    scan_all(&scan);
    while (count < TOKENS_MOST && scan_next(&scan, &slot) == CKR_OK && slot != NULL)
        slots[count++] = slot;
    scan_end(&scan);
    return count;
}

static bool no_token(struct doctor *doctor)
{
    char text[2048];
    struct slot *slots[TOKENS_MOST];
    const char *labels[TOKENS_MOST];
    size_t count = all_tokens(doctor, slots);
    const char *module = doctor->call->context.provider->config.module_path;
    const CK_UTF8CHAR *label = p11_kit_uri_get_token_info(doctor->inventory.uri.p11)->label;
    char wanted[33];
    int near;

    open_raise_no_token(doctor->call->context.provider, &doctor->inventory.uri,
                        &doctor->inventory.scan);
    found(doctor, SICK, STEP_TOKEN, "%s", error_text("there is no token", text, sizeof(text)));
    if (count == 0 && look_at_module(doctor, module))
        return false;
    if (count == 0 && strstr(module, "p11-kit-proxy") != NULL)
        look_for_disabled(doctor);
    for (size_t i = 0; i < count; i++)
        labels[i] = slots[i]->token.label;
    trimmed(label, sizeof(slots[0]->token.info.label), wanted);
    near = count == 1 ? 0 : nearest(wanted, labels, count);
    if (near >= 0 && doctor->uri != NULL) {
        _cleanup_(free_scoped) char *uri = with_token(doctor->inventory.uri.text, labels[near], "");

        advise_uri(doctor, uri != NULL ? uri : "");
    } else if (count == 0) {
        advise(doctor,
               "initialise a token with its own tool (pkcs11-tool --module %s --init-token), or "
               "connect it",
               module);
    } else {
        advise(doctor, "name one of these tokens in the URI");
    }
    return false;
}

static bool several_tokens(struct doctor *doctor, struct slot *const *slots, size_t count)
{
    char text[512] = "", serial[TOKEN_SERIAL_MAX], more[TOKEN_SERIAL_MAX + 16];

    for (size_t i = 0; i < count; i++)
        token_tell(&slots[i]->token.info, slot_id(slots[i]), text, sizeof(text));
    found(doctor, SICK, STEP_TOKEN, "the URI fits %zu tokens: %s", count, text);
    for (size_t i = 0; i < count; i++) {
        _cleanup_(free_scoped) char *uri = NULL;

        token_serial(&slots[i]->token, serial);
        (void)snprintf(more, sizeof(more), ";serial=%s", serial);
        uri = with_token(doctor->inventory.uri.text, slots[i]->token.label, more);
        advise_uri(doctor, uri != NULL ? uri : "");
    }
    return false;
}

static const struct {
    CK_FLAGS flag;
    const char *what, *advice;
} token_troubles[] = {
    { CKF_USER_PIN_LOCKED, "its user PIN is locked: too many wrong ones were tried",
      "unlock it with the security officer's PIN: pkcs11-tool --module %s --slot %lu --login "
      "--login-type "
      "so --init-pin" },
    { CKF_USER_PIN_FINAL_TRY, "one more wrong PIN locks it, so the provider tries none",
      "log in once with the right PIN: pkcs11-tool --module %s --slot %lu --login --list-objects" },
    { CKF_USER_PIN_TO_BE_CHANGED, "its user PIN has to be changed first",
      "change it: pkcs11-tool --module %s --slot %lu --login --change-pin" },
};

/* What the token says of itself; false where that ends it. */
static bool is_token_well(struct doctor *doctor, struct slot *slot)
{
    for (size_t i = 0; i < COUNT(token_troubles); i++) {
        if ((slot_flags(slot) & token_troubles[i].flag) == 0)
            continue;
        found(doctor, SICK, STEP_TOKEN, "the token '%s': %s", slot->token.label,
              token_troubles[i].what);
        advise(doctor, token_troubles[i].advice, slot->module->path, (unsigned long)slot_id(slot));
        return false;
    }
    return true;
}

static bool no_answer(struct doctor *doctor, CK_RV rv)
{
    const struct module *module = doctor->inventory.scan.module;
    char text[2048];

    error_raise_ckr(&doctor->call->context.provider->core, REASON_TOKEN_FAILED, rv,
                    "look for tokens in %s", module->path);
    found(doctor, SICK, STEP_TOKEN, "%s", error_text("it failed", text, sizeof(text)));
    if (!look_at_module(doctor, module->path))
        advise(doctor,
               "look whether the token is there and its own tool sees it: pkcs11-tool "
               "--module %s --list-slots",
               module->path);
    return false;
}

bool doctor_token(struct doctor *doctor)
{
    struct inventory *inventory = &doctor->inventory;
    const char *text = doctor->uri != NULL ? doctor->uri : "pkcs11:";
    struct slot *slots[TOKENS_MOST], *slot = NULL;
    size_t count = 0;
    char serial[TOKEN_SERIAL_MAX], why[2048];
    CK_RV rv = CKR_OK;

    if (!open_uri(doctor->call->context.provider, text, "the URI", &inventory->uri,
                  &inventory->pins)) {
        found(doctor, SICK, STEP_TOKEN, "%s",
              error_text("the URI cannot be used", why, sizeof(why)));
        advise(doctor, "pkcs11-bridge list shows the URIs of all that is there");
        return false;
    }
    inventory->context = &doctor->call->context;
    scan_begin(&inventory->scan, provider_module(doctor->call->context.provider, NULL),
               &inventory->uri, &doctor->call->context.provider->config.limits);
    scan_all(&inventory->scan);
    while (count < TOKENS_MOST && (rv = scan_next(&inventory->scan, &slot)) == CKR_OK &&
           slot != NULL)
        slots[count++] = slot;
    rv = rv == CKR_OK ? inventory->scan.failure : rv;
    if (count == 0)
        return rv == CKR_OK ? no_token(doctor) : no_answer(doctor, rv);
    if (count > 1 && doctor->uri != NULL && inventory->uri.names_token)
        return several_tokens(doctor, slots, count);
    doctor->slot = slots[0];
    if (!is_token_well(doctor, slots[0]))
        return false;
    token_serial(&slots[0]->token, serial);
    found(doctor, WELL, STEP_TOKEN, "'%s', serial number %s, in slot %lu%s", slots[0]->token.label,
          serial, (unsigned long)slot_id(slots[0]), count > 1 ? ", the first of several" : "");
    return true;
}
