/* Which process this is, for what a child must not go on with that its parent has: also after a
 * fork that runs no handlers (_Fork(3), clone(2)). */
#ifndef BRIDGE_PROCESS_H
#define BRIDGE_PROCESS_H

#include <stdint.h>

/* Another number in each process, also where one gets the process id of another that is gone. No
 * system call but the first time; where the kernel cannot wipe memory on a fork (before Linux
 * 4.14), it is the process id. */
uint64_t process_number(void);

#endif
