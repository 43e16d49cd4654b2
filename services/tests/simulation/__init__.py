"""The whole store in one process, on virtual time, under faults: both groups, caches, clients.

One seed decides everything: sizes, timings, clocks, loads and faults. The replicas are the real
ones (`Node` over the real core, desks and state machines, journals from `memory_journal`), the
holders use the real holder's rule; frontends and clients are small models. A seed replays its
trace bit by bit.

    plan       what a seed means: sizes, timings, how much of every fault
    world      virtual time, random numbers, counts, the trace
    network    loss, delay, duplicates, reordering, cuts
    replica    a process: node, journal, clocks; a driver that obeys effects
    frontend   model frontends, caches and their holders
    clients    what customers do, and the history of it
    nemesis    the faults, within "at most f voters down or without their disk"
    watch      what is checked at every step
    verdict    what is checked at the end
    run        one seed from its start to its verdict
    plants     known bugs, each caught by a named seed
"""
