/* pkcs11-bridge SUBCOMMAND: the table of subcommands, and their options read. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/say.h"
#include "pkcs11_bridge.h"

static const struct subcommand *const subcommands[] = {
    &doctor_subcommand, &list_subcommand,   &show_subcommand,        &pem_subcommand,
    &keygen_subcommand, &csr_subcommand,    &import_cert_subcommand, &import_key_subcommand,
    &wrap_subcommand,   &unwrap_subcommand, &delete_subcommand,      &pin_subcommand,
    &health_subcommand, &bench_subcommand,  &conf_subcommand,        &metrics_subcommand,
    &audit_subcommand,
};

static const struct option_row common_options[OPTIONS_COMMON] = {
    [OPTION_JSON] = { "json", NULL, "answer in JSON" },
    [OPTION_CONFIG] = { "config", "FILE", "read this openssl.cnf, as OPENSSL_CONF does" },
    [OPTION_MODULE] = { "module", "PATH", "the PKCS#11 module, as PKCS11_PROVIDER_MODULE does" },
    [OPTION_HELP] = { "help", NULL, "this text" },
};

static unsigned own_options(const struct subcommand *subcommand)
{
    unsigned count = 0;

    while (subcommand->options != NULL && subcommand->options[count].name != NULL)
        count++;
    return count;
}

static void print_option(const struct option_row *option)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "--%s%s%s", option->name, option->value != NULL ? " " : "",
                   option->value != NULL ? option->value : "");
    (void)printf("  %-26s %s\n", text, option->help);
}

static enum status print_usage(void)
{
    (void)printf("usage: " PROGRAM " SUBCOMMAND [OPTION]... [ARGUMENT]...\n\n");
    for (size_t i = 0; i < COUNT(subcommands); i++)
        (void)printf("  %-12s %-10s %s\n", subcommands[i]->name, subcommands[i]->operands,
                     subcommands[i]->summary);
    (void)printf("\n" PROGRAM " SUBCOMMAND --help has the options; " PROGRAM
                 "(1) has all of it.\n");
    return STATUS_DONE;
}

static enum status print_help(const struct subcommand *subcommand)
{
    (void)printf("usage: " PROGRAM " %s [OPTION]...%s%s\n\n%s.\n\n", subcommand->name,
                 subcommand->operands[0] != '\0' ? " " : "", subcommand->operands,
                 subcommand->summary);
    for (unsigned i = 0; i < own_options(subcommand); i++)
        print_option(&subcommand->options[i]);
    for (unsigned i = 0; i < OPTIONS_COMMON; i++)
        print_option(&common_options[i]);
    return STATUS_DONE;
}

static enum status bad_usage(const struct subcommand *subcommand)
{
    (void)fprintf(stderr, "usage: " PROGRAM " %s [OPTION]... %s (--help has more)\n",
                  subcommand->name, subcommand->operands);
    return STATUS_USAGE;
}

static struct option long_option(const struct option_row *row, unsigned at)
{
    return (struct option){ row->name, row->value != NULL ? required_argument : no_argument, NULL,
                            (int)at };
}

/* Reads what stands behind the subcommand's name; false, with words, where that makes no sense. */
static bool read_options(struct call *call, int argc, char **argv)
{
    struct option options[OPTIONS_COMMON + OPTIONS_MOST + 1] = { { 0 } };
    unsigned own = own_options(call->subcommand);
    static char program[] = PROGRAM;
    int found;

    argv[0] = program; /* in getopt's words */

    for (unsigned i = 0; i < OPTIONS_COMMON; i++)
        options[i] = long_option(&common_options[i], i);
    for (unsigned i = 0; i < own; i++)
        options[OPTIONS_COMMON + i] =
            long_option(&call->subcommand->options[i], OPTIONS_COMMON + i);
    while ((found = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (found == '?')
            return false;
        call->values[found] = optarg != NULL ? optarg : "";
    }
    return true;
}

static bool read_operands(struct call *call, int argc, char **argv)
{
    unsigned count = (unsigned)(argc - optind);

    if (count < call->subcommand->least)
        complain("%s wants %s", call->subcommand->name, call->subcommand->operands);
    else if (count > call->subcommand->most)
        complain("%s: that is one argument too many: %s", call->subcommand->name,
                 argv[optind + (int)call->subcommand->most]);
    else
        for (unsigned i = 0; i < count; i++)
            call->operands[i] = argv[optind + (int)i];
    return count >= call->subcommand->least && count <= call->subcommand->most;
}

bool call_number(const struct call *call, unsigned option, unsigned long least, unsigned long most,
                 unsigned long otherwise, unsigned long *out)
{
    const char *value = call_option(call, option);
    char *end = NULL;

    *out = otherwise;
    if (value == NULL)
        return true;
    errno = 0;
    *out = strtoul(value, &end, 10);
    if (value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0 && *out >= least &&
        *out <= most)
        return true;
    complain("--%s %s: it takes a number from %lu to %lu", call->subcommand->options[option].name,
             value, least, most);
    return false;
}

void call_tell_uri(const struct call *call, const char *uri)
{
    struct json json = { .out = stdout };

    if (!call->json) {
        (void)printf("%s\n", uri);
        return;
    }
    json_object(&json, NULL);
    json_text(&json, "uri", uri);
    json_end(&json);
}

static enum status run(struct call *call)
{
    enum status status = STATUS_FAILED;

    call->json = call->values[OPTION_JSON] != NULL;
    if (call->values[OPTION_CONFIG] != NULL)
        (void)setenv("OPENSSL_CONF", call->values[OPTION_CONFIG], 1);
    if (call->values[OPTION_MODULE] != NULL)
        (void)setenv(PKCS11_BRIDGE_ENV_MODULE, call->values[OPTION_MODULE], 1);
    if (call->subcommand->alone || context_open(&call->context))
        status = call->subcommand->run(call);
    context_close(&call->context);
    return status;
}

static const struct subcommand *find(const char *name)
{
    for (size_t i = 0; i < COUNT(subcommands); i++)
        if (strcmp(subcommands[i]->name, name) == 0)
            return subcommands[i];
    return NULL;
}

static enum status dispatch(int argc, char **argv)
{
    struct call call = { .subcommand = find(argv[0]) };

    if (call.subcommand == NULL) {
        complain("there is no subcommand %s; " PROGRAM " --help lists them", argv[0]);
        return STATUS_USAGE;
    }
    if (!read_options(&call, argc, argv))
        return bad_usage(call.subcommand);
    if (call.values[OPTION_HELP] != NULL)
        return print_help(call.subcommand);
    return read_operands(&call, argc, argv) ? run(&call) : bad_usage(call.subcommand);
}

/* What was written reaches its file, or that is the error; who closes a pipe knows it. */
static enum status finish(enum status status)
{
    int error = fflush(stdout) == 0 && ferror(stdout) == 0 ? 0 : errno;

    if (error == 0)
        return status;
    if (error != EPIPE)
        complain("cannot write what there is to say: %s", strerror(error));
    return STATUS_OUTPUT;
}

static enum status start(int argc, char **argv)
{
    /* A pipe that is closed stops no work that has begun. */
    (void)signal(SIGPIPE, SIG_IGN);
    /* Not libcrypto's own reading of openssl.cnf: that would load the module beside this. */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    if (argc < 2) {
        complain("which subcommand? " PROGRAM " --help lists them");
        return STATUS_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        return finish(print_usage());
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf(PROGRAM " " BRIDGE_VERSION " for " OPENSSL_VERSION_TEXT "\n");
        return finish(STATUS_DONE);
    }
    return finish(dispatch(argc - 1, argv + 1));
}

int main(int argc, char **argv)
{
    return (int)start(argc, argv);
}
