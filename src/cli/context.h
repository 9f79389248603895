/* The provider as a subcommand uses it: this program's own code, configured by openssl.cnf as the
 * module would be, in a library context that programs do not share. */
#ifndef BRIDGE_CLI_CONTEXT_H
#define BRIDGE_CLI_CONTEXT_H

#include <stdbool.h>

#include <openssl/provider.h>

#include "cli/conf_file.h"
#include "module/cryptoki.h"

struct provider;
struct pin_source;

struct context {
    OSSL_LIB_CTX *libctx;
    struct conf_file file;
    OSSL_PROVIDER *handle, *standard;
    struct provider *provider;
};

/* Where openssl.cnf has no section for the provider, it has its defaults, and the host OpenSSL's.
 * False with words. context_close in any case. */
bool context_open(struct context *context);
void context_close(struct context *context);

/* A person at the terminal is asked for a PIN that is nowhere else. */
void context_ask(struct pin_source *pins);

/* The same, for an order of a layer below. */
typedef struct secret *context_ask_fn(void *arg, const CK_TOKEN_INFO *token);
context_ask_fn *context_asks(void);

#endif
