/* SHOWN: pool: nobody waits for a session for ever, the books are right, and none of an old epoch is used
 * BOUND: 3 threads with 1 and 2 sessions, one use each (for ever with -DEVER), 1 failure of the token, 1 restart, the token short of sessions (but with -DAMPLE)
 * RUN: -DLIMIT=1
 * RUN: -DLIMIT=2 -DAMPLE
 * RUN: -DLIMIT=1 -DEVER
 * BREAK: -DLIMIT=1 -DWITHOUT_NEXT
 * BREAK: -DLIMIT=1 -DWITHOUT_OFFER
 * BREAK: -DLIMIT=1 -DWITHOUT_LEAVING
 * BREAK: -DLIMIT=2 -DWITHOUT_MENDED
 * BREAK: -DLIMIT=2 -DWITHOUT_ALARM
 * BREAK: -DLIMIT=2 -DWITHOUT_EPOCH
 * BREAK: -DLIMIT=2 -DWITHOUT_UNUSED
 * BREAK: -DLIMIT=1 -DEVER -DWITHOUT_TURN -DWITHOUT_OFFER
 *
 * The pool of a token's sessions, docs/adr/0003-one-lock.md: who waits is woken, whoever else comes and goes.
 *
 *   thread      run.c: run, try_once, repair_token; claim.c: pool_take, claim_get (take_at_once is its way where a
 *               session is idle and nobody waits), queue, pool_open_new, place_release; closing.c: pool_session_return; module.c: module_start
 *   restarter   module.c: restart with restart_claim, wait_unused, bar, module_settle, restart_withdraw
 *   clock       base/clock.h: the moments pool->turn and pool->probe come, some time
 *   the inlines are the functions of claim.c, closing.c and epoch.c of the same name
 *
 * What is under the pool's mutex in C is one atomic here, but where a thread waits. The state of the module is changed
 * under another lock, so that is a step of its own. A wait ends by a signal or at the waiter's alarm (next_look), never
 * without a reason: a signal that is left out leaves a thread that waits for ever, which is an invalid end state. A
 * thread that is impatient may also give up at any time (pkcs11-session-wait-ms); the others never do.
 *
 * Left out: keepers (keeper.c), sessions that write, logging in. With -DEVER, nothing fails, everybody comes again for
 * ever, and thread 0 is shown to get its turn each time, if the processor is shared fairly. */

#ifndef LIMIT
#define LIMIT 1
#endif
#define N 3
#ifndef USES
#define USES 1
#endif
#define NOBODY 255

mtype = { UP, STARTING };
mtype state = UP;

byte epoch = 1, ended = 0; /* pool->epoch, pool->left */
byte idle, open, taken, closing;
byte squeezed; /* 0: not */
bool mending, later, probe_later;

byte line[N] = NOBODY; /* pool->waiters */
byte waiting;          /* how many */
bool served[N], signalled[N], alarm_turn[N], alarm_probe[N], impatient[N], asleep[N];
bool has[N];        /* the claim is a session, not a place */
byte session[N];    /* its epoch */
byte claim_epoch[N];
byte failures, shortages;
byte life = 1, idle_life; /* module->life; that of the idle sessions */
byte idle_epoch;          /* theirs */
byte lives[N];            /* that of a session */
byte wants[N];

#define READY (state == UP)
#define LIMIT_NOW ((squeezed != 0 && squeezed < LIMIT) -> squeezed : LIMIT)
#define PROBE_DUE (squeezed != 0 && open < LIMIT && !probe_later)
#define HAS_ROOM (open < LIMIT_NOW || PROBE_DUE)
#define HAS_SESSION (!mending && (idle > 0 || HAS_ROOM))
#define CURRENT(i) (session[i] == epoch)
#define IS_LAST (open - closing == 1)

inline enqueue(i, front)
{
    d_step {
        k = waiting;
        if
        :: front -> do :: k > 0 -> line[k] = line[k - 1]; k-- :: else -> break od
        :: else
        fi;
        line[k] = i;
        waiting++;
        k = 0
    }
}

inline dequeue(i)
{
    d_step {
        k = 0;
        do :: k < waiting && line[k] != i -> k++ :: else -> break od;
        assert(k < waiting);
        waiting--;
        do :: k < waiting -> line[k] = line[k + 1]; k++ :: else -> break od;
        line[waiting] = NOBODY;
        k = 0
    }
}

inline claim_make(i)
{
    taken++;
    has[i] = false;
    if
    :: idle > 0 -> assert(idle_epoch == epoch); idle--; has[i] = true; session[i] = epoch; lives[i] = idle_life
    :: else -> assert(HAS_ROOM); open++;
        if :: squeezed != 0 && open > squeezed -> probe_later = true :: else fi
    fi;
    claim_epoch[i] = epoch
}

inline serve()
{
    any = false;
    do
    :: waiting > 0 && HAS_SESSION && READY ->
        w = line[0];
        dequeue(w);
        claim_make(w);
        served[w] = true;
        signalled[w] = true;
        any = true
    :: else -> break
    od;
    if :: any -> later = true :: else fi;
#ifndef WITHOUT_NEXT
    if :: waiting > 0 -> signalled[line[0]] = true :: else fi;
#endif
    any = false;
    w = 0
}

inline offer()
{
    if :: waiting > 0 && !later -> serve() :: else fi
}

inline epoch_end()
{
    ended = 0;
    idle = 0;
    open = 0;
    closing = 0;
    epoch++
}

inline last_leaves(i)
{
    k = epoch;
    epoch_end();
    ended = k;
    k = 0;
    session[i] = epoch;
    open = 1
}

/* pool_session_return */
inline give_back(i, spoilt)
{
    atomic {
        if
#ifdef WITHOUT_EPOCH
        :: !spoilt && open <= LIMIT ->
#else
        :: !spoilt && open <= LIMIT && CURRENT(i) ->
#endif
            idle++;
            idle_epoch = session[i];
            idle_life = lives[i];
            taken--;
#ifndef WITHOUT_OFFER
            offer();
#endif
            has[i] = false
        :: else ->
            if
            :: CURRENT(i) -> if :: IS_LAST -> last_leaves(i) :: else fi; closing++
            :: else
            fi
        fi
    }
    if
    :: has[i] ->
        skip; /* C_CloseSession */
        atomic {
            if :: CURRENT(i) -> closing--; open-- :: else fi;
            taken--;
            has[i] = false;
            offer()
        }
    :: else
    fi
}

/* no_more: CKR_SESSION_COUNT */
inline place_release(i, no_more)
{
    atomic {
        if :: claim_epoch[i] == epoch -> open-- :: else fi;
        again = no_more && open > 0;
        if :: again -> squeezed = open; probe_later = true :: else fi;
        taken--;
        offer()
    }
}

inline sleep(i)
{
    signalled[i] = false;
#ifdef WITHOUT_ALARM
    alarm_turn[i] = false;
#else
    alarm_turn[i] = line[0] == i && later;
#endif
    alarm_probe[i] = line[0] == i && squeezed != 0 && open < LIMIT && probe_later;
    asleep[i] = true
}

proctype thread(byte i)
{
    byte k, w, uses, failed;
    bool any, again, given_up;

again_use:
    again = false;
    given_up = false;
    wants[i] = 1;
claim_get:
    READY; /* module_start: waits for module->changed, which is told whenever the state is */
    atomic {
        if
        :: !READY -> goto claim_get
        :: else
        fi;
        served[i] = false;
#ifdef WITHOUT_TURN
        if
        :: HAS_SESSION -> claim_make(i); served[i] = true
#else
        if
        :: HAS_SESSION && (again || waiting == 0 || later) -> claim_make(i); served[i] = true
#endif
        :: else -> enqueue(i, again); offer();
            if :: !served[i] && READY -> sleep(i) :: else fi
        fi
    }
    do
    :: asleep[i] ->
        if
        :: signalled[i]
        :: alarm_turn[i] && !later
        :: alarm_probe[i] && !probe_later
        :: impatient[i] -> given_up = true
        fi;
        atomic {
            asleep[i] = false;
            offer();
            if :: !served[i] && READY && !given_up -> sleep(i) :: else fi
        }
    :: else -> break
    od;
    atomic {
        if
        :: !served[i] ->
            dequeue(i);
#ifndef WITHOUT_LEAVING
            serve();
#endif
            if :: given_up -> goto done :: else -> goto claim_get fi
        :: else
        fi
    }
    if
    :: !has[i] -> /* pool_open_new */
        if
        :: true ->
            atomic {
                has[i] = true;
                session[i] = claim_epoch[i];
                lives[i] = life;
                if
                :: CURRENT(i) && squeezed != 0 && open > squeezed -> squeezed = open; probe_later = false
                :: else
                fi;
                offer()
            }
#ifndef EVER
#ifndef AMPLE
        :: shortages == 0 ->
            shortages++;
            place_release(i, true);
            if :: again -> goto claim_get :: else -> goto done fi
#endif
#endif
        fi
    :: else
    fi;
    wants[i] = 0;
    failed = 0;
    if
    :: CURRENT(i) -> /* SESSION_CALL */
        assert(lives[i] == life) /* the call: the module has not been started anew since the session was opened */
    :: else
    fi;
#ifndef EVER
    if
    :: failures == 0 -> failures++; failed = session[i]
    :: true
    fi;
#endif
    give_back(i, failed != 0);
    if
    :: failed != 0 -> /* repair_token: pool_mend, slot_locate, pool_mended */
        atomic {
            any = !mending && (failed == epoch || failed == ended);
            if :: any -> epoch_end(); mending = true; served[i] = true :: else -> served[i] = false fi;
            any = false
        }
        if
        :: served[i] ->
            atomic {
                mending = false;
#ifndef WITHOUT_MENDED
                serve()
#endif
            }
        :: else
        fi
    :: else
    fi;
done:
    atomic {
        wants[i] = 0;
        assert(open >= closing && open + taken >= idle && taken <= N + 1);
#ifdef EVER
        goto again_use
#else
        uses++;
        if :: uses < USES -> goto again_use :: else fi
#endif
    }
}

proctype restarter()
{
    byte k, w;
    bool any;

    atomic { READY -> state = STARTING } /* restart_claim */
    if
#ifdef WITHOUT_UNUSED
    :: true ->
#else
    :: taken == 0 -> /* pool_wait_unused; nobody takes any from here on: claim_get sees the state */
#endif
        atomic { life++; epoch_end(); serve() } /* bar: module_down */
        skip;                                   /* C_Finalize, C_Initialize */
        atomic { epoch_end(); serve() }         /* module_settle: module_down */
        state = UP
    :: true -> state = UP /* restart_withdraw */
    fi
}

active proctype clock()
{
end:
    do
    :: later -> later = false
    :: probe_later -> probe_later = false
    od
}

init
{
    byte i;

    atomic {
#ifndef EVER
        impatient[N - 1] = true;
        run restarter();
#endif
        do :: i < N -> run thread(i); i++ :: else -> break od
    }
}

#ifdef EVER
ltl turn { [] ((wants[0] == 1) -> <> (wants[0] == 0)) }
#endif
