"""What is native inside a managed process: loader, trap entry, call-site rewriting, threads.

The C sources build one static, freestanding executable, installed as ``shim/bin/antumbra-shim``. Nothing here is
imported by other rooms but the path of that executable; the shim itself includes ``hot/kernel``, which it runs.
"""
