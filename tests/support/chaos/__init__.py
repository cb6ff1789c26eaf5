"""Chaos: a cluster of real processes, a workload, mishaps by a seed, and a look at what was told.

``make faults ARGS="--seed 7"`` repeats a run. ``mishaps.py`` draws what happens, ``harm.py`` does it in
the network and on the disks of ``lab.py``; ``workload.py`` keeps a ``history.py``, of which ``verdict.py``
says what no right cluster could have told: tags by ``linearizable.py``.
"""
