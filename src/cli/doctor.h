/* pkcs11-bridge doctor: the way of a real operation, step by step, with what was found at each and
 * what to do. Its steps are in doctor_conf.c, doctor_module.c and doctor_key.c. */
#ifndef BRIDGE_CLI_DOCTOR_H
#define BRIDGE_CLI_DOCTOR_H

#include "cli/cli.h"
#include "cli/inventory.h"
#include "cli/json.h"
#include "cli/nearest.h"

enum health { WELL, NOTED, SICK };

struct doctor {
    struct call *call;
    const char *uri;         /* or NULL */
    const char *certificate; /* --cert, or NULL */
    const char *server;      /* --server, or NULL */
    const char *group;       /* the user's, for advice about files */
    struct conf_file file;
    struct json json;
    bool open; /* a finding, in JSON */
    unsigned sick, noted;
    struct inventory inventory; /* private keys that the URI names, from the token on */
    struct slot *slot;          /* the token */
    char *key;                  /* the URI of the key; free() */
    CK_KEY_TYPE key_type;
};

/* Says what a step found. The advice that follows belongs to it. */
__attribute__((format(printf, 4, 5))) void found(struct doctor *doctor, enum health health,
                                                 const char *step, const char *format, ...);
/* The last finding has no more advice. */
void found_end(struct doctor *doctor);

/* Advice, each to be followed word for word: a command for a shell; a change of openssl.cnf;
 * another URI; or words, where a person has to decide. section "": the top of the file, before the
 * first section. value NULL: the key is removed. */
__attribute__((format(printf, 2, 3))) void advise_run(struct doctor *doctor, const char *format,
                                                      ...);
void advise_set(struct doctor *doctor, const char *section, const char *key, const char *value);
void advise_rename(struct doctor *doctor, const char *section, const char *key, const char *name);
void advise_uri(struct doctor *doctor, const char *uri);
__attribute__((format(printf, 2, 3))) void advise(struct doctor *doctor, const char *format, ...);

/* Says, with advice, what keeps this user from path, of which access(2) in mode said no: the file
 * itself or a folder on the way. what: "the PIN file". */
void found_no_access(struct doctor *doctor, const char *step, const char *what, const char *path,
                     int mode);

/* The steps: false where there is no going on. */
typedef bool doctor_step(struct doctor *doctor);
doctor_step doctor_file, doctor_section, doctor_names, doctor_host, doctor_provider, doctor_values,
    doctor_module, doctor_start, doctor_token, doctor_pin, doctor_login, doctor_key, doctor_usage,
    doctor_mechanisms, doctor_signature, doctor_certificate, doctor_server;

/* Whether there is something to say of a server of this name; else words. */
bool doctor_knows_server(const char *name);

#endif
