/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The hand-over of a guest, as docs/devel/migration-v4/conversation.rst has
 * it, for spin: whatever is cut, killed, late or cancelled, and whenever, the
 * guest never runs twice, its disks never have two writers, nobody runs a
 * state that is not the newest, and the guest is there in the end.
 *
 * handover.py searches all that can happen, and shows that it finds faults.
 */

#define TROUBLES 4      /* how often a link is cut, or a wait is given up */

#define S 0             /* the source */
#define D 1             /* the destination */
#define other(side) (1 - side)

/* STATE stands for the whole of the stream, from its hello to its end. */
mtype = { STATE, LOADED, RUN, RUNNING, REFUSED };

/* The connection, of which there is one at a time. */
chan to_d = [4] of { mtype };
chan to_s = [4] of { mtype };
bool severed;           /* each side hears of it behind what still came */
bool listening;         /* the destination takes a connection */
bool deaf;              /* it never will again */

bool alive[2], runs[2], writes[2];

/* Each start of the guest makes what others have of it old. */
byte newest;
byte copy[2];
#define NONE 255
#define has(side) (alive[side] && copy[side] == newest)

byte troubles;          /* so far */
bool gone;              /* the link does not come back */
bool hasty;             /* the source gives up though it may come back */
bool declined;          /* the destination could not have the disks */
bool lost;              /* the guest went down with a host, as any guest does */

/* What is under way may still come, or not. */
inline sever()
{
    severed = true;
    if
    :: true
    :: do
       :: to_d?_
       :: empty(to_d) -> break
       od
    fi;
    if
    :: true
    :: do
       :: to_s?_
       :: empty(to_s) -> break
       od
    fi
}

/* Who has not heard yet that the connection is severed may speak in vain. */
inline send(channel, message)
{
    if
    :: channel!message
    :: severed
    fi
}

#define ends(channel) (severed && empty(channel))

inline take_disks(side)
{
    assert(!writes[other(side)]);
    writes[side] = true
}

inline start(side)
{
    assert(!runs[other(side)]);
    assert(writes[side]);
    assert(copy[side] == newest);
    newest++;
    copy[side] = newest;
    runs[side] = true
}

inline kill(side)
{
    lost = lost || (has(side) && !has(other(side)));
    alive[side] = false;
    runs[side] = false;
    writes[side] = false;
    sever()
}

/* A link that is cut, or a time that is over. */
#define trouble() troubles < TROUBLES -> troubles++

proctype source() provided (alive[S])
{
    /* SENDING: the guest runs */
    if
    :: true                         /* it fails, or is cancelled */
       goto runs_on
    :: atomic { true -> runs[S] = false; writes[S] = false };
       send(to_d, STATE)
    fi;

    /* WAIT-LOADED */
    if
    :: to_s?LOADED
    :: to_s?REFUSED -> goto takes_back
    :: ends(to_s) -> goto takes_back
    :: true -> goto takes_back      /* time is over, or a person cancels */
    fi;

committed:
    send(to_d, RUN);
    if
    :: to_s?RUNNING -> goto done
    :: to_s?REFUSED -> goto takes_back
    :: ends(to_s)
    :: atomic { trouble(); sever() }
    fi;

    /* IN-DOUBT */
    if
    :: atomic { listening && !gone && alive[D] ->
                do
                :: to_d?_
                :: to_s?_
                :: empty(to_d) && empty(to_s) -> break
                od;
                severed = false;
                listening = false };
       goto committed
    :: gone || hasty || deaf || !alive[D]   /* the time for it is over */
    fi;
    goto done;                      /* paused: a person decides */

takes_back:
    atomic { take_disks(S); start(S) };
runs_on:
    atomic { sever() };
done:
    skip
}

proctype destination() provided (alive[D])
{
    /* LOADING */
    if
    :: to_d?STATE
    :: ends(to_d) -> goto nothing
    :: atomic { true -> sever() };  /* time is over */
       goto nothing
    fi;
    if
    :: copy[D] = 0                  /* what it was when the source stopped */
    :: send(to_s, REFUSED);         /* the state is not what it should be */
       goto nothing
    fi;
    send(to_s, LOADED);

    /* WAIT-RUN, ORPHANED while it listens; and when it runs, the source may
       ask again until it has hung up */
    do
    :: to_d?RUN ->
       atomic {
           if
           :: runs[D]
           :: else ->
              take_disks(D);
              if
              :: start(D)
              :: goto declines      /* they cannot be had */
              fi
           fi
       };
       send(to_s, RUNNING)
    :: !listening && ends(to_d) ->
       if
       :: runs[D] -> goto nothing
       :: else -> listening = true
       fi
    :: atomic { !listening && trouble(); sever() };
       listening = true
    od;

declines:
    atomic {
        writes[D] = false;
        lost = lost || !has(S);
        copy[D] = NONE;
        declined = true
    };
    send(to_s, REFUSED);
nothing:                            /* that the source could ask for */
    deaf = true
}

/* A person who knows that the other side is dead, and did not run the guest. */
#define may_decide(side) (has(side) && !runs[side] && !alive[other(side)])

inline decide(side)
{
    take_disks(side);
    start(side)
}

init
{
    alive[S] = true;
    alive[D] = true;
    writes[S] = true;
    runs[S] = true;
    copy[D] = NONE;
    if
    :: hasty = true
    :: true
    fi;
    atomic { run source(); run destination() };

    /* What may happen at any moment, until nothing does any more. */
    do
    :: atomic { trouble(); sever() }
    :: atomic { !gone -> gone = true; sever() }
    :: atomic { alive[S] -> kill(S) }
    :: atomic { alive[D] -> kill(D) }
    :: atomic { may_decide(D) -> decide(D) }
    :: break
    od;
    timeout;

    /* Nobody runs it only if there is a reason; and it is not lost. */
    if
    :: runs[S] || runs[D]
    :: else ->
       assert(!alive[S] || !alive[D] || gone || hasty || declined);
       assert(lost || has(S) || has(D));
       if
       :: lost
       :: else ->
          atomic {
              if
              :: has(S) -> kill(D); may_decide(S) -> decide(S)
              :: has(D) -> kill(S); may_decide(D) -> decide(D)
              fi
          }
       fi
    fi
}
