/* pkcs11-bridge doctor: the table of its steps. */
#include "cli/doctor.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/user.h"
#include "cli/say.h"
#include "instance/instance.h"
#include "pkcs11_bridge.h"

enum { AS_USER, CERT, SERVER, TRACE };
static const struct option_row options[] = {
    [AS_USER] = { "as-user", "NAME", "look with this user's eyes, as www-data; for root" },
    [CERT] = { "cert", "FILE", "whether this certificate is for the key" },
    [SERVER] = { "server", "NAME",
                 "what to write in the configuration of nginx, apache, haproxy, ..." },
    [TRACE] = { "trace", NULL, "each C_* call of the steps, on standard error" },
    { NULL, NULL, NULL },
};

/* The way of a real operation. */
static doctor_step *const steps[] = {
    doctor_file,        doctor_section, doctor_names, doctor_host,       doctor_provider,
    doctor_values,      doctor_module,  doctor_start, doctor_token,      doctor_pin,
    doctor_login,       doctor_key,     doctor_usage, doctor_mechanisms, doctor_signature,
    doctor_certificate, doctor_server,
};

static bool become(const char *name)
{
    const struct passwd *user = getpwnam(name);

    if (user == NULL) {
        complain("--as-user %s: there is no such user", name);
        return false;
    }
    if (initgroups(name, user->pw_gid) == 0 && setgid(user->pw_gid) == 0 &&
        setuid(user->pw_uid) == 0 && setenv("HOME", user->pw_dir, 1) == 0)
        return true;
    complain("--as-user %s: only root can look with another user's eyes", name);
    return false;
}

static const char *group_name(char *buf, size_t size)
{
    const struct group *group = getgrgid(getegid());

    if (group != NULL)
        (void)snprintf(buf, size, "%s", group->gr_name);
    else
        (void)snprintf(buf, size, "%u", (unsigned)getegid());
    return buf;
}

static void say_user(struct doctor *doctor)
{
    char name[USER_NAME_MAX];

    found(doctor, WELL, "user", "%s, group %s", user_name(name), doctor->group);
}

/* What to write, now that it is known to work. */
static void paste(const struct doctor *doctor)
{
    const struct config *config = &doctor->call->context.provider->config;

    (void)printf("\nAll of it is well. In %s:\n\n    [%s]\n    activate = 1\n    %s = %s\n",
                 doctor->file.path, doctor->file.section, PKCS11_BRIDGE_CONF_MODULE_PATH,
                 config->module_path);
    if (config->pin_file != NULL)
        (void)printf("    %s = file:%s\n", PKCS11_BRIDGE_CONF_TOKEN_PIN, config->pin_file);
    (void)printf("\nPrograms that take a URI: %s\nThose that read only files: pkcs11-bridge pem "
                 "'%s' --out server.key\n",
                 doctor->key, doctor->key);
}

static void walk(struct doctor *doctor)
{
    bool on = true;

    say_user(doctor);
    for (size_t i = 0; on && i < COUNT(steps); i++)
        on = steps[i](doctor);
}

static void report(struct doctor *doctor)
{
    if (doctor->call->json) {
        found_end(doctor);
        json_end(&doctor->json);
        json_bool(&doctor->json, "ok", doctor->sick == 0);
        json_end(&doctor->json);
    } else if (doctor->sick == 0 && doctor->key != NULL) {
        paste(doctor);
    }
}

static void doctor_clear(struct doctor *doctor)
{
    free(doctor->key);
    inventory_end(&doctor->inventory);
    conf_file_close(&doctor->file);
}

static enum status examine(struct call *call)
{
    char group[64];
    struct doctor doctor = { .call = call,
                             .uri = call->operands[0],
                             .certificate = call_option(call, CERT),
                             .server = call_option(call, SERVER),
                             .json = { .out = stdout } };
    const char *user = call_option(call, AS_USER);

    if ((doctor.server != NULL && !doctor_knows_server(doctor.server)) ||
        (user != NULL && !become(user)))
        return STATUS_USAGE;
    if (call_option(call, TRACE) != NULL)
        (void)setenv(PKCS11_BRIDGE_ENV_DEBUG, "file:/dev/stderr,level:2", 1);
    doctor.group = group_name(group, sizeof(group));
    if (call->json) {
        json_object(&doctor.json, NULL);
        json_array(&doctor.json, "findings");
    }
    walk(&doctor);
    report(&doctor);
    doctor_clear(&doctor);
    return doctor.sick == 0 ? STATUS_DONE : STATUS_FAILED;
}

const struct subcommand doctor_subcommand = {
    .name = "doctor",
    .operands = "[URI]",
    .most = 1,
    .summary = "Goes the way of a real operation, and says what is wrong and what to do",
    .options = options,
    .alone = true,
    .run = examine,
};
