/* pkcs11-bridge audit verify: the links of an audit trail, computed again. */
#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/say.h"
#include "cli/trail_line.h"

struct link_chain {
    char *name;
    uint64_t next; /* the number of the line to come */
    uint8_t last[HMAC_LEN];
    bool ended;
};

struct verification {
    void *chains; /* tsearch(3) */
    const char *path;
    unsigned long at, lines, chain_count, faults, plain;
    bool json; /* nothing but the end is told */
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct link_chain *)a)->name, ((const struct link_chain *)b)->name);
}

__attribute__((format(printf, 2, 3))) static void fault(struct verification *all,
                                                        const char *format, ...)
{
    char text[512], shown[sizeof(text) + 1];
    va_list args;

    all->faults++;
    if (all->json)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    text_printable((const uint8_t *)text, strlen(text), shown); /* what is in the file as well */
    (void)printf("%s:%lu: %s\n", all->path, all->at, shown);
}

/* NULL when memory is short. */
static struct link_chain *chain_of(struct verification *all, struct view name)
{
    struct link_chain *chain = OPENSSL_zalloc(sizeof(*chain));
    struct link_chain **found;

    if (chain == NULL ||
        (chain->name = OPENSSL_strndup((const char *)name.data, name.len)) == NULL) {
        OPENSSL_free(chain);
        return NULL;
    }
    found = tsearch(chain, &all->chains, compare);
    if (found != NULL && *found == chain) {
        all->chain_count++;
        return chain;
    }
    OPENSSL_free(chain->name);
    OPENSSL_free(chain);
    return found != NULL ? *found : NULL;
}

static bool fits(const struct link_chain *chain, const struct trail_line *line)
{
    struct hmac_key key;
    uint8_t link[HMAC_LEN];

    hmac_key(chain->last, &key);
    hmac(&key, line->text, link);
    return memcmp(link, line->link, HMAC_LEN) == 0;
}

static void follow(struct verification *all, struct link_chain *chain,
                   const struct trail_line *line)
{
    if (line->number > chain->next)
        fault(all, "chain %s: lines %" PRIu64 " to %" PRIu64 " are missing", chain->name,
              chain->next, line->number - 1);
    else if (line->number < chain->next)
        fault(all, "chain %s: line %" PRIu64 " again, or out of order", chain->name, line->number);
    else if (!fits(chain, line))
        fault(all, "chain %s: line %" PRIu64 " was changed, or the one before it", chain->name,
              line->number);
    if (chain->ended)
        fault(all, "chain %s: goes on behind its end", chain->name);
    chain->next = line->number + 1;
    memcpy(chain->last, line->link, HMAC_LEN);
    chain->ended = line->end;
}

/* False when memory is short. */
static bool take(struct verification *all, struct view text)
{
    struct trail_line line;
    struct link_chain *chain;

    if (text.len == 0) /* behind one that was cut off */
        return true;
    all->lines++;
    if (!trail_line_read(text, &line)) {
        fault(all, "torn, or no line of an audit trail");
        return true;
    }
    if (line.chain.data == NULL) {
        if (all->chain_count != 0)
            fault(all, "a line without a link");
        else
            all->plain++;
        return true;
    }
    chain = chain_of(all, line.chain);
    if (chain != NULL)
        follow(all, chain, &line);
    return chain != NULL;
}

static void line_scoped(char *const *line)
{
    free(*line);
}

/* False with words where it cannot be read. */
static bool take_file(struct verification *all, const char *path)
{
    _cleanup_(stream_scoped) FILE *file = fopen(path, "re");
    _cleanup_(line_scoped) char *text = NULL;
    size_t room = 0;
    ssize_t len = 0;

    all->path = path;
    all->at = 0;
    while (file != NULL && (len = getline(&text, &room, file)) > 0) {
        bool whole = text[len - 1] == '\n';

        all->at++;
        if (!take(all, (struct view){ (uint8_t *)text, (size_t)(len - whole) }))
            return false;
        if (!whole)
            fault(all, "the last line is torn");
    }
    if (file != NULL && ferror(file) == 0)
        return true;
    complain("cannot read %s: %s", path, strerror(errno));
    return false;
}

static void tell_end(const void *node, VISIT visit, void *arg)
{
    const struct link_chain *chain = *(struct link_chain *const *)node;
    unsigned long *open = arg;

    if ((visit != postorder && visit != leaf) || chain->ended)
        return;
    ++*open;
    complain("chain %s: no end after line %" PRIu64, chain->name, chain->next - 1);
}

static void chain_free(void *chain)
{
    OPENSSL_free(((struct link_chain *)chain)->name);
    OPENSSL_free(chain);
}

static void report(const struct verification *all)
{
    struct json json = { .out = stdout };
    unsigned long open = 0;

    twalk_r(all->chains, tell_end, &open);
    if (!all->json) {
        (void)printf("%lu lines, %lu chains, %lu faults\n", all->lines, all->chain_count,
                     all->faults);
        return;
    }
    json_object(&json, NULL);
    json_number(&json, "lines", all->lines);
    json_number(&json, "chains", all->chain_count);
    json_number(&json, "without_end", open);
    json_number(&json, "faults", all->faults);
    json_end(&json);
}

static enum status audit(struct call *call)
{
    struct verification all = { .json = call->json };
    bool read = true;

    if (strcmp(call->operands[0], "verify") != 0) {
        complain("audit %s: what it can do is verify", call->operands[0]);
        return STATUS_USAGE;
    }
    for (unsigned i = 1; read && i < call->subcommand->most && call->operands[i] != NULL; i++)
        read = take_file(&all, call->operands[i]);
    if (read && all.chain_count != 0 && all.plain != 0)
        fault(&all, "%lu lines before the first chain have no link", all.plain);
    if (read)
        report(&all);
    tdestroy(all.chains, chain_free);
    return read && all.faults == 0 ? STATUS_DONE : STATUS_FAILED;
}

const struct subcommand audit_subcommand = {
    .name = "audit",
    .operands = "verify FILE...",
    .least = 2,
    .most = OPERANDS_MOST,
    .summary = "Verifies the lines and links of an audit trail, the oldest file first",
    .alone = true,
    .run = audit,
};
