/* pkcs11-bridge conf: the configuration as it counts here, and where each value comes from. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/say.h"
#include "instance/instance.h"

struct setting {
    const char *value, *source; /* NULL: the default */
};

static struct setting setting_of(struct conf_file *file, size_t i)
{
    struct setting setting = { NULL, NULL };

    if ((setting.value = config_environment(i, &setting.source)) != NULL)
        return setting;
    setting.value = conf_file_lookup(file, config_key(i));
    setting.source = setting.value != NULL ? file->path : NULL;
    return setting;
}

/* Where a PIN is may be seen, the PIN itself not. */
static const char *shown(size_t i, const char *value)
{
    bool names =
        value != NULL && (strncmp(value, "file:", 5) == 0 || strncmp(value, "env:", 4) == 0);

    return value != NULL && config_is_secret(i) && !names ? "(not shown)" : value;
}

static void print_setting(size_t i, const struct setting *setting)
{
    (void)printf("%-42s %-24s %s\n", config_key(i),
                 setting->value != NULL ? shown(i, setting->value) : config_default(i),
                 setting->source != NULL ? setting->source : "default");
}

static void put_setting(struct json *json, size_t i, const struct setting *setting)
{
    json_object(json, config_key(i));
    json_text(json, "value", setting->value != NULL ? shown(i, setting->value) : config_default(i));
    json_text(json, "source", setting->source != NULL ? setting->source : "default");
    json_end(json);
}

static void print_all(struct call *call, struct json *json)
{
    for (size_t i = 0; config_key(i) != NULL; i++) {
        struct setting setting = setting_of(&call->context.file, i);

        if (call->json)
            put_setting(json, i, &setting);
        else
            print_setting(i, &setting);
    }
}

static void print_file(const struct conf_file *file)
{
    if (file->section != NULL)
        (void)printf("%s, section [%s]\n\n", file->path, file->section);
    else
        (void)printf("%s has no section for the provider\n\n",
                     file->path != NULL ? file->path : "no openssl.cnf is read, and nothing");
}

static enum status conf(struct call *call)
{
    const struct provider *provider = call->context.provider;
    const struct conf_file *file = &call->context.file;
    struct json json = { .out = stdout };

    if (call->json) {
        json_object(&json, NULL);
        json_text(&json, "file", file->path);
        json_text(&json, "section", file->section);
        json_text(&json, "unknown",
                  provider->core.unknown[0] != '\0' ? provider->core.unknown : NULL);
        json_text(&json, "error", provider->misconfigured);
        json_object(&json, "settings");
    } else {
        print_file(file);
    }
    print_all(call, &json);
    if (call->json) {
        json_end(&json);
        json_end(&json);
    }
    if (provider->misconfigured != NULL)
        complain("%s", provider->misconfigured);
    return provider->misconfigured == NULL ? STATUS_DONE : STATUS_FAILED;
}

const struct subcommand conf_subcommand = {
    .name = "conf",
    .operands = "",
    .summary = "Shows the configuration that counts, and where each value comes from",
    .run = conf,
};
