/* A file whose first line becomes another: the new file lies beside it, FILE.new, before anything
 * else is done, and takes its place when that is done. */
#ifndef BRIDGE_CLI_REPLACE_H
#define BRIDGE_CLI_REPLACE_H

#include <stdbool.h>

#include "base/bytes.h"

struct replacement {
    char *path;     /* of the file itself, where the name given is a link's; NULL: none is begun */
    char *new_path; /* of the one beside it */
};

/* Writes it, with the owner, the mode and the further lines of the file at path, and waits until
 * the disk has it. The file's first line is old, or it is empty. False with words, also where it is
 * another, and where there is a new file already. */
bool replacement_begin(struct replacement *replacement, const char *path, struct view old,
                       struct view line);

/* The new file takes the other's place; or it goes, and the other stays. Nothing where none is
 * begun. False with words that say where both are. */
bool replacement_finish(struct replacement *replacement);
void replacement_drop(struct replacement *replacement);

/* Frees what it holds. */
void replacement_end(struct replacement *replacement);

#endif
