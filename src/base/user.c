#include "base/user.h"

#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "base/scope.h"

static uid_t first;

static void begin(void)
{
    first = geteuid();
}

void user_begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, begin);
}

bool user_changed(void)
{
    return geteuid() != first;
}

static bool look_up(uid_t uid, struct passwd *found, char *buf, size_t size)
{
    _cleanup_(stream_scoped) FILE *file = fopen("/etc/passwd", "re");
    struct passwd *one = NULL;

    while (file != NULL && fgetpwent_r(file, found, buf, size, &one) == 0 && one != NULL)
        if (one->pw_uid == uid)
            return true;
    return false;
}

const char *user_name_of(uid_t uid, char name[USER_NAME_MAX])
{
    KEEP_ERRNO;
    struct passwd found;
    char buf[1024];

    if (look_up(uid, &found, buf, sizeof(buf)))
        (void)snprintf(name, USER_NAME_MAX, "%.40s (uid %lu)", found.pw_name, (unsigned long)uid);
    else
        (void)snprintf(name, USER_NAME_MAX, "uid %lu", (unsigned long)uid);
    return name;
}

const char *user_name(char name[USER_NAME_MAX])
{
    return user_name_of(geteuid(), name);
}
