/* The file of pkcs11-token-pins: on each line the URI of a token, blanks, and where its PIN is. */
#ifndef BRIDGE_PIN_FILE_H
#define BRIDGE_PIN_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "token/pins.h"
#include "uri/uri.h"

/* Reads the whole file at path and finds the first line whose URI fits. Its PIN, or the path of the
 * file that has it, goes to pin, whose members stay NULL where no line fits.
 *
 * False with a sentence in why (size bytes), which quotes nothing of the file, when it cannot be
 * read or any line is malformed. */
bool pin_file_find(const char *path, bool (*fits)(void *arg, const struct uri *uri), void *arg,
                   struct pin *pin, char *why, size_t size);

#endif
