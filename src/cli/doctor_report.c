/* What the doctor says: findings and advice, to people or in JSON. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/text.h"
#include "base/user.h"
#include "cli/doctor.h"
#include "cli/say.h"

#define TEXT_MOST 2048

#define FORMAT(format, text)                                                                       \
    do {                                                                                           \
        va_list args_;                                                                             \
                                                                                                   \
        va_start(args_, format);                                                                   \
        (void)vsnprintf(text, sizeof(text), format, args_);                                        \
        va_end(args_);                                                                             \
    } while (0)

void found_end(struct doctor *doctor)
{
    if (!doctor->open)
        return;
    json_end(&doctor->json);
    json_end(&doctor->json);
    doctor->open = false;
}

static void found_json(struct doctor *doctor, const char *health, const char *step,
                       const char *text)
{
    found_end(doctor);
    json_object(&doctor->json, NULL);
    json_text(&doctor->json, "step", step);
    json_text(&doctor->json, "health", health);
    json_text(&doctor->json, "found", text);
    json_array(&doctor->json, "advice");
    doctor->open = true;
}

void found(struct doctor *doctor, enum health health, const char *step, const char *format, ...)
{
    static const struct {
        const char *name, *shown;
        enum colour colour;
    } healths[] = { [WELL] = { "well", "well", GREEN },
                    [NOTED] = { "noted", "note", YELLOW },
                    [SICK] = { "sick", "SICK", RED } };
    char text[TEXT_MOST], shown[TEXT_MOST + 1];

    FORMAT(format, text);
    doctor->sick += health == SICK;
    doctor->noted += health == NOTED;
    if (doctor->call->json) {
        found_json(doctor, healths[health].name, step, text);
        return;
    }
    text_printable((const uint8_t *)text, strlen(text), shown);
    (void)printf("%s%-5s%s %-12s %s\n", colour(stdout, healths[health].colour),
                 healths[health].shown, colour(stdout, PLAIN), step, shown);
    (void)fflush(stdout); /* before a step that may take its time */
}

static void advice_text(const struct doctor *doctor, const char *text)
{
    char shown[TEXT_MOST + 1];

    if (doctor->call->json)
        return;
    text_printable((const uint8_t *)text, strlen(text), shown);
    (void)printf("%19s%sdo:%s %s\n", "", colour(stdout, BOLD), colour(stdout, PLAIN), shown);
}

static void advice_json(struct doctor *doctor, const char *kind, const char *text)
{
    if (!doctor->call->json)
        return;
    json_object(&doctor->json, NULL);
    json_text(&doctor->json, kind, text);
    json_end(&doctor->json);
}

void advise_run(struct doctor *doctor, const char *format, ...)
{
    char text[TEXT_MOST], line[TEXT_MOST];

    FORMAT(format, text);
    (void)snprintf(line, sizeof(line), "run: %.*s", (int)sizeof(line) - 8, text);
    advice_text(doctor, line);
    advice_json(doctor, "run", text);
}

void advise(struct doctor *doctor, const char *format, ...)
{
    char text[TEXT_MOST];

    FORMAT(format, text);
    advice_text(doctor, text);
    advice_json(doctor, "text", text);
}

void advise_uri(struct doctor *doctor, const char *uri)
{
    char line[TEXT_MOST];

    (void)snprintf(line, sizeof(line), "use this URI: %s", uri);
    advice_text(doctor, line);
    advice_json(doctor, "uri", uri);
}

/* kind: what becomes of the key, "set" or "rename". */
static void advise_edit(struct doctor *doctor, const char *section, const char *key,
                        const char *kind, const char *value)
{
    if (!doctor->call->json)
        return;
    json_object(&doctor->json, NULL);
    json_text(&doctor->json, "file", doctor->file.path);
    json_text(&doctor->json, "section", section);
    json_text(&doctor->json, "key", key);
    json_text(&doctor->json, kind, value);
    json_end(&doctor->json);
}

static const char *place(const struct doctor *doctor, const char *section, char *buf, size_t size)
{
    if (section[0] == '\0')
        (void)snprintf(buf, size, "at the top of %s", doctor->file.path);
    else
        (void)snprintf(buf, size, "in %s, section [%s]", doctor->file.path, section);
    return buf;
}

void advise_set(struct doctor *doctor, const char *section, const char *key, const char *value)
{
    char where[512], line[TEXT_MOST];

    (void)place(doctor, section, where, sizeof(where));
    if (value != NULL)
        (void)snprintf(line, sizeof(line), "%s, set: %s = %s", where, key, value);
    else
        (void)snprintf(line, sizeof(line), "%s, remove: %s", where, key);
    advice_text(doctor, line);
    advise_edit(doctor, section, key, "set", value);
}

void advise_rename(struct doctor *doctor, const char *section, const char *key, const char *name)
{
    char where[512], line[TEXT_MOST];

    (void)snprintf(line, sizeof(line), "%s, rename %s to %s",
                   place(doctor, section, where, sizeof(where)), key, name);
    advice_text(doctor, line);
    advise_edit(doctor, section, key, "rename", name);
}

static bool may(const char *path, int mode)
{
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
}

/* The first folder on the way that cannot be entered, or the file itself. */
static void find_barrier(const char *path, char *barrier, size_t size)
{
    for (size_t i = 1; i < size && path[i] != '\0'; i++) {
        if (path[i] != '/')
            continue;
        (void)snprintf(barrier, size, "%.*s", (int)i, path);
        if (!may(barrier, X_OK))
            return;
    }
    (void)snprintf(barrier, size, "%s", path);
}

/* Group and others keep what they have; the user's group gets what is missing. */
static void advise_access(struct doctor *doctor, const char *barrier, bool folder, int mode)
{
    advise_run(doctor, "chgrp %s '%s' && chmod g+%s%s '%s'", doctor->group, barrier,
               !folder || (mode & R_OK) != 0 ? "r" : "", folder ? "x" : "", barrier);
}

void found_no_access(struct doctor *doctor, const char *step, const char *what, const char *path,
                     int mode)
{
    int error = errno;
    char barrier[4096], name[USER_NAME_MAX];
    bool folder;

    if (error != EACCES) {
        found(doctor, SICK, step, "%s %s: %s", what, path, strerror(error));
        return;
    }
    find_barrier(path, barrier, sizeof(barrier));
    folder = strcmp(barrier, path) != 0;
    found(doctor, SICK, step, "%s %s cannot be read by %s: %s %s is not open to that user", what,
          path, user_name(name), folder ? "the folder" : "the file", barrier);
    advise_access(doctor, barrier, folder, mode);
    if (may("/sys/fs/selinux/enforce", F_OK) || may("/sys/module/apparmor", F_OK))
        advise(doctor, "where its rights are as they should be: look whether SELinux or AppArmor "
                       "say no (ausearch -m avc; journalctl -k -g apparmor)");
}
