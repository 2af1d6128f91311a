"""The cold tail: surrogate peers, computed by numba kernels.

Here live the population, the overlay, gossip, the packet-level boundary towards hot hosts, and the engine that is a
participant of the window protocol. Kernels sit in modules named ``*_kernels.py`` and take arrays and scalars only; the
modules beside them are ordinary numpy.

This room imports ``bridge`` and nothing else of ours. It does not know what a managed process is: hot hosts are ids and
addresses of the host directory, and packets to and from them are bytes. What never crosses its border is an identity's
state: others see packets, tables and counters.
"""
