/* Between two inputs. */
#ifndef BRIDGE_LEAVE_H
#define BRIDGE_LEAVE_H

/* The last who uses the module of a provider lets go of it, and comes again. */
void hostile_leave(void *provctx);

#endif
