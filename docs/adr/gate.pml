/* SHOWN: gate: while a fork finds it clear nobody is in a call, a module is started anew with nobody in one, all get in again
 * BOUND: 2 threads with 2 calls each, one of them nested, 1 fork, 1 restart
 * RUN: -DPATIENT
 * RUN: -DHASTY
 * RUN: -DEVER
 * BREAK: -DPATIENT -DWITHOUT_COUNT
 * BREAK: -DPATIENT -DWITHOUT_SHUT
 * BREAK: -DPATIENT -DWITHOUT_BAR
 * BREAK: -DPATIENT -DWITHOUT_OPEN
 *
 * The gate that every C_* call passes, docs/adr/0003-one-lock.md: src/module/call.c.
 *
 *   caller      gate_enter, heed (the bar of a module), gate_leave; twice where calls belong together (WITHIN_GATE)
 *   forker      module/lock.c: before_fork, parent_after_fork; call.c: gate_close, gate_clear, gate_open
 *   restarter   module/module.c: bar and finalise_and_initialise; call.c: call_bar, call_unbar
 *
 * Each access to an atomic of C is a step of its own, in the order of the program (they are all sequentially
 * consistent). Every thread has a counter of its own; several in one only add up. How long things may take is any
 * time: with -DHASTY who shuts the gate may give up on a call at any moment. With -DEVER the callers come again for
 * ever, and caller 0 gets in each time.
 *
 * Left out: the child of the fork, which has one thread (gate_reset). */

#define CALLERS 2
#define FORKER 2
#define RESTARTER 3

byte under_way[CALLERS + 2]; /* by thread: inside of its counter */
bool shut, barred;
byte in_call[CALLERS];
bool clear_for_fork, started_anew;
bool wants[CALLERS];

inline gate_enter(i)
{
#ifdef WITHOUT_COUNT /* looked at first, counted then */
    !shut;
    under_way[i]++
#else
    under_way[i]++;
    do
    :: atomic { !shut -> break }
    :: shut ->
        under_way[i]--;
        !shut; /* clock_rest */
        under_way[i]++
    od
#endif
}

inline gate_leave(i)
{
    under_way[i]--
}

/* For who has it shut: reads one counter after the other. */
inline gate_clear(me, sum, n)
{
    sum = 0;
    n = 0;
    do
    :: n < CALLERS + 2 -> atomic { sum = sum + under_way[n]; n++ }
    :: else -> break
    od
}

inline gate_close(me, sum, n, clear)
{
    do
    :: atomic { !shut -> shut = true; break }
#ifdef HASTY
    :: shut -> goto given_up
#endif
    od;
#ifdef WITHOUT_SHUT
    shut = false;
#endif
    do
    :: gate_clear(me, sum, n);
        if
        :: sum == 0 -> clear = true; break
#ifdef HASTY
        :: sum != 0 -> break
#endif
        :: sum != 0
        fi
    od
}

inline gate_open()
{
#ifndef WITHOUT_OPEN
    shut = false
#else
    skip
#endif
}

proctype caller(byte i)
{
    byte calls;

again:
    wants[i] = true;
    gate_enter(i); /* call_enter, heed */
    do
    :: barred ->
        gate_leave(i);
        !barred;
        gate_enter(i)
    :: atomic { !barred -> break }
    od;
    in_call[i] = 1;
    wants[i] = false;
    assert(!clear_for_fork && !started_anew);
    if
    :: in_call[i] = 2; /* a call within: inside is 1 already, nothing is looked at */
        in_call[i] = 1
    :: true
    fi;
    in_call[i] = 0;
    gate_leave(i);
#ifdef EVER
    goto again;
#else
    calls++;
    if
    :: calls < 2 -> goto again
    :: else
    fi
#endif
}

proctype forker()
{
    byte sum, n;
    bool clear;

    gate_close(FORKER, sum, n, clear);
    if
    :: clear ->
        atomic { clear_for_fork = true; assert(in_call[0] == 0 && in_call[1] == 0) }
        clear_for_fork = false /* fork() is between the two */
    :: else
    fi;
    gate_open();
given_up:
    skip
}

proctype restarter()
{
    byte sum, n;
    bool clear;

    gate_close(RESTARTER, sum, n, clear);
#ifndef WITHOUT_BAR
    if
    :: clear -> barred = true
    :: else
    fi;
#endif
    gate_open();
    if
    :: clear ->
        gate_enter(RESTARTER); /* finalise: it is its own bar */
        atomic { started_anew = true; assert(in_call[0] == 0 && in_call[1] == 0) }
        started_anew = false;
        gate_leave(RESTARTER);
        barred = false
    :: else
    fi;
given_up:
    skip
}

init
{
    atomic {
        run caller(0);
        run caller(1);
        run forker();
        run restarter()
    }
}

#ifdef EVER
ltl gets_in { [] (wants[0] -> <> (!wants[0])) }
#endif
