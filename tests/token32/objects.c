#include "objects.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <openssl/evp.h>

#define SUFFIX ".object"

static struct object *all;
static ck_object_handle_t last_handle;

struct object *object_new(void)
{
    return calloc(1, sizeof(struct object));
}

void object_free(struct object *object)
{
    for (unsigned long i = 0; i < object->count; i++)
        free(object->attributes[i].value);
    free(object->attributes);
    EVP_PKEY_free(object->pkey);
    free(object);
}

static struct ck_attribute *attribute_slot(struct object *object, ck_attribute_type_t type)
{
    for (unsigned long i = 0; i < object->count; i++)
        if (object->attributes[i].type == type)
            return &object->attributes[i];
    object->attributes =
        realloc(object->attributes, (object->count + 1) * sizeof(*object->attributes));
    if (object->attributes == NULL)
        abort();
    object->attributes[object->count] = (struct ck_attribute){ .type = type };
    return &object->attributes[object->count++];
}

void object_set(struct object *object, ck_attribute_type_t type, const void *value, size_t len)
{
    struct ck_attribute *slot = attribute_slot(object, type);
    void *copy = malloc(len + 1);

    if (copy == NULL)
        abort();
    if (len > 0)
        memcpy(copy, value, len);
    free(slot->value);
    slot->value = copy;
    slot->value_len = len;
}

void object_set_ulong(struct object *object, ck_attribute_type_t type, unsigned long value)
{
    object_set(object, type, &value, sizeof(value));
}

void object_set_bool(struct object *object, ck_attribute_type_t type, bool value)
{
    const unsigned char byte = value;

    object_set(object, type, &byte, 1);
}

void object_set_all(struct object *object, const struct ck_attribute *templ, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++)
        object_set(object, templ[i].type, templ[i].value, templ[i].value_len);
}

const struct ck_attribute *object_get(const struct object *object, ck_attribute_type_t type)
{
    for (unsigned long i = 0; i < object->count; i++)
        if (object->attributes[i].type == type)
            return &object->attributes[i];
    return NULL;
}

unsigned long object_ulong(const struct object *object, ck_attribute_type_t type)
{
    const struct ck_attribute *found = object_get(object, type);
    unsigned long value = 0;

    if (found != NULL && found->value_len == sizeof(value))
        memcpy(&value, found->value, sizeof(value));
    return value;
}

bool object_is(const struct object *object, ck_attribute_type_t type)
{
    const struct ck_attribute *found = object_get(object, type);

    return found != NULL && found->value_len == 1 && *(const unsigned char *)found->value != 0;
}

bool object_matches(const struct object *object, const struct ck_attribute *templ,
                    unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        const struct ck_attribute *found = object_get(object, templ[i].type);

        if (found == NULL || found->value_len != templ[i].value_len ||
            memcmp(found->value, templ[i].value, found->value_len) != 0)
            return false;
    }
    return true;
}

struct object *object_first(void)
{
    return all;
}

struct object *object_by_handle(ck_object_handle_t handle)
{
    struct object *object = all;

    while (object != NULL && object->handle != handle)
        object = object->next;
    return object;
}

static void list_add(struct object *object)
{
    struct object **end = &all;

    while (*end != NULL)
        end = &(*end)->next;
    *end = object;
    object->handle = ++last_handle;
}

static void list_remove(struct object **place)
{
    struct object *object = *place;

    *place = object->next;
    object_free(object);
}

/* "" without a folder: then the token's objects live as long as the process. */
static void folder_path(const char *name, char *path, size_t size)
{
    const char *folder = getenv("TOKEN32_DIR");

    path[0] = '\0';
    if (folder != NULL)
        (void)snprintf(path, size, "%s/%s", folder, name);
}

bool folder_read(const char *name, char *text, size_t size)
{
    char path[512];
    FILE *file;

    folder_path(name, path, sizeof(path));
    file = fopen(path, "r");
    if (file == NULL)
        return false;
    text[fread(text, 1, size - 1, file)] = '\0';
    (void)fclose(file);
    return true;
}

/* A reader sees the old file or the new one. */
bool folder_write(const char *name, const void *data, size_t len)
{
    char path[512], fresh[576];
    FILE *file;
    bool ok;

    folder_path(name, path, sizeof(path));
    if (path[0] == '\0')
        return true;
    (void)snprintf(fresh, sizeof(fresh), "%s.%ld", path, (long)getpid());
    file = fopen(fresh, "w");
    if (file == NULL)
        return false;
    ok = fwrite(data, 1, len, file) == len;
    ok = fclose(file) == 0 && ok;
    return ok && rename(fresh, path) == 0;
}

/* A file is its object's attributes: type, length, value. */
ck_rv_t object_save(const struct object *object)
{
    char *data = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&data, &size);
    bool ok;

    if (memory == NULL)
        return CKR_HOST_MEMORY;
    for (unsigned long i = 0; i < object->count; i++) {
        const struct ck_attribute *attribute = &object->attributes[i];

        (void)fwrite(&attribute->type, sizeof(attribute->type), 1, memory);
        (void)fwrite(&attribute->value_len, sizeof(attribute->value_len), 1, memory);
        (void)fwrite(attribute->value, 1, attribute->value_len, memory);
    }
    (void)fclose(memory);
    ok = folder_write(object->file, data, size);
    free(data);
    return ok ? CKR_OK : CKR_DEVICE_MEMORY;
}

ck_rv_t object_add(struct object *object, ck_session_handle_t session)
{
    unsigned char name[8];

    object->session = session;
    list_add(object);
    if (session != 0)
        return CKR_OK;
    if (getrandom(name, sizeof(name), 0) != sizeof(name))
        return CKR_FUNCTION_FAILED;
    for (size_t i = 0; i < sizeof(name); i++)
        (void)sprintf(object->file + 2 * i, "%02x", name[i]);
    strcpy(object->file + 2 * sizeof(name), SUFFIX);
    return object_save(object);
}

void object_destroy(struct object *object)
{
    char path[512];
    struct object **place = &all;

    folder_path(object->file, path, sizeof(path));
    if (object->session == 0)
        (void)unlink(path);
    while (*place != object)
        place = &(*place)->next;
    list_remove(place);
}

static bool attribute_read(FILE *file, struct object *object)
{
    struct ck_attribute one = { 0 };
    bool ok;

    if (fread(&one.type, sizeof(one.type), 1, file) != 1 ||
        fread(&one.value_len, sizeof(one.value_len), 1, file) != 1)
        return false;
    one.value = malloc(one.value_len + 1);
    ok = one.value != NULL && fread(one.value, 1, one.value_len, file) == one.value_len;
    if (ok)
        object_set(object, one.type, one.value, one.value_len);
    free(one.value);
    return ok;
}

static void object_load(const char *name)
{
    char path[512];
    struct object *object;
    FILE *file;

    folder_path(name, path, sizeof(path));
    file = fopen(path, "r");
    if (file == NULL)
        return;
    object = object_new();
    while (attribute_read(file, object)) {
    }
    (void)fclose(file);
    (void)snprintf(object->file, sizeof(object->file), "%.31s", name);
    object->seen = true;
    list_add(object);
}

static void object_see(const char *name)
{
    for (struct object *object = all; object != NULL; object = object->next)
        if (strcmp(object->file, name) == 0) {
            object->seen = true;
            return;
        }
    object_load(name);
}

static bool is_object_file(const char *name)
{
    const size_t len = strlen(name), suffix = sizeof(SUFFIX) - 1;

    return len > suffix && strcmp(name + len - suffix, SUFFIX) == 0;
}

void objects_scan(void)
{
    const char *folder = getenv("TOKEN32_DIR");
    DIR *dir = folder != NULL ? opendir(folder) : NULL;
    struct dirent *entry;

    if (dir == NULL)
        return;
    for (struct object *object = all; object != NULL; object = object->next)
        object->seen = object->session != 0;
    while ((entry = readdir(dir)) != NULL)
        if (is_object_file(entry->d_name))
            object_see(entry->d_name);
    (void)closedir(dir);
    for (struct object **place = &all; *place != NULL;) {
        if (!(*place)->seen)
            list_remove(place);
        else
            place = &(*place)->next;
    }
}

void objects_forget(ck_session_handle_t session)
{
    for (struct object **place = &all; *place != NULL;) {
        if ((*place)->session == session)
            list_remove(place);
        else
            place = &(*place)->next;
    }
}

void objects_forget_all(void)
{
    while (all != NULL)
        list_remove(&all);
}
