"""The hot side: hosts that run real, unmodified Linux binaries in virtual time.

``hot/kernel`` (C) is the simulated Linux kernel, linked both into the shim inside every managed process and into
``hot/engine`` (C), a shard's event loop, queues, relays and routes. The Python modules are the shard's participant in
the window protocol and its section of the configuration. May import ``bridge`` and ``shim``; never ``cold``,
``calibration`` or ``antumbra``.
"""
