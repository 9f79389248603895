/* The command pkcs11-bridge: what its subcommands share. It stands beside ops/ on the same layers:
 * it finds, makes and deletes with the code that programs reach through libcrypto. */
#ifndef BRIDGE_CLI_H
#define BRIDGE_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/context.h"

#define PROGRAM "pkcs11-bridge"

/* What the command exits with: docs/man/pkcs11-bridge.1. */
enum status {
    STATUS_DONE = 0,
    STATUS_FAILED = 1,   /* what was asked for could not be done, or is not well */
    STATUS_USAGE = 2,    /* the command was not called as it can be */
    STATUS_DECLINED = 3, /* the question was not answered with yes */
    STATUS_OUTPUT = 4    /* what was to be said could not be written */
};

#define OPTIONS_MOST  12
#define OPERANDS_MOST 64

/* An option of a subcommand; value is what its argument is called, NULL where it takes none. */
struct option_row {
    const char *name;
    const char *value;
    const char *help;
};

/* The options that all subcommands have come first. */
enum common_option { OPTION_JSON, OPTION_CONFIG, OPTION_MODULE, OPTION_HELP, OPTIONS_COMMON };

/* One run of a subcommand. */
struct call {
    const struct subcommand *subcommand;
    const char *values[OPTIONS_COMMON + OPTIONS_MOST]; /* NULL: not given; "": without a value */
    const char *operands[OPERANDS_MOST];               /* NULL: not given */
    bool json;
    struct context context;
};

struct subcommand {
    const char *name;
    const char *operands;             /* as in the usage line: "URI", "[URI]", "" */
    unsigned least, most;             /* operands */
    const char *summary;              /* one line, no full stop */
    const struct option_row *options; /* up to one without a name; or NULL */
    bool alone;                       /* begins without a context, and opens its own */
    enum status (*run)(struct call *call);
};

/* The value of the subcommand's own option, by its place in its table; "" for one that takes none,
 * NULL where it was not given. */
static inline const char *call_option(const struct call *call, unsigned option)
{
    return call->values[OPTIONS_COMMON + option];
}

/* A number from least to most; otherwise where the option was not given. False, with words, for
 * anything else. */
bool call_number(const struct call *call, unsigned option, unsigned long least, unsigned long most,
                 unsigned long otherwise, unsigned long *out);

/* The URI of what was made: a line, or JSON. */
void call_tell_uri(const struct call *call, const char *uri);

extern const struct subcommand list_subcommand, show_subcommand, pem_subcommand, delete_subcommand,
    health_subcommand, conf_subcommand, keygen_subcommand, csr_subcommand, import_cert_subcommand,
    bench_subcommand, doctor_subcommand, wrap_subcommand, unwrap_subcommand, import_key_subcommand,
    pin_subcommand, metrics_subcommand, audit_subcommand;

#endif
