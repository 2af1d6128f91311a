"""Trying out, for real, what the kernel and the CPU let a process do.

Every probe runs in a process forked for it and leaves nothing behind. The file is run as a script, by a fresh
interpreter, because forking one that has threads (as one with numpy has) is not safe. So it imports nothing
but the standard library.
"""

import ctypes
import json
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

# linux/prctl.h, asm/prctl.h, linux/seccomp.h, linux/filter.h, linux/personality.h, linux/mman.h, sys/ptrace.h
_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_SET_TSC = 26
_PR_TSC_SIGSEGV = 2
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_ARCH_SET_CPUID = 0x1012
_SECCOMP_MODE_FILTER = 2
_SECCOMP_RET_TRAP = 0x00030000
_SECCOMP_RET_ALLOW = 0x7FFF0000
_BPF_LOAD_WORD = 0x20
_BPF_JUMP_IF_EQUAL = 0x15
_BPF_RETURN = 0x06
_ADDR_NO_RANDOMIZE = 0x0040000
_MAP_FIXED_NOREPLACE = 0x100000
_PTRACE_TRACEME = 0
_PTRACE_GETREGS = 12
_AT_HWCAP2 = 26
_HWCAP2_FSGSBASE = 2
_SYS_GETPPID = 110
_SYS_ARCH_PRCTL = 158

# Where hosts' arenas and the shim are mapped.
_FIXED_ADDRESSES = (0x2000_0000_0000, 0x6000_0000_0000)

_RDTSC = b"\x0f\x31\xc3"  # rdtsc; ret
_CPUID = b"\x53\x31\xc0\x0f\xa2\x5b\xc3"  # push rbx; xor eax, eax; cpuid; pop rbx; ret
_RDFSBASE = b"\xf3\x48\x0f\xae\xc0\xc3"  # rdfsbase rax; ret

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_libc.getauxval.restype = ctypes.c_ulong
_libc.getauxval.argtypes = (ctypes.c_ulong,)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jump_true", ctypes.c_uint8),
        ("jump_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def _checked(result: int, call: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")
    return result


def _prctl(call: str, option: int, *arguments: object) -> None:
    padded = [*arguments, *(ctypes.c_ulong(0) for _ in range(4 - len(arguments)))]
    _checked(_libc.prctl(option, *padded), call)


def _execute(code: bytes) -> None:
    """Run machine code that keeps to the C calling convention."""
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()


def _die_by_default_of(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _seccomp_traps() -> None:
    """Trap getppid by a filter, and expect SIGSYS in its place."""
    trapped: list[object] = []
    signal.signal(signal.SIGSYS, lambda *details: trapped.append(details))
    instructions = (_Instruction * 4)(
        _Instruction(_BPF_LOAD_WORD, 0, 0, 0),
        _Instruction(_BPF_JUMP_IF_EQUAL, 0, 1, _SYS_GETPPID),
        _Instruction(_BPF_RETURN, 0, 0, _SECCOMP_RET_TRAP),
        _Instruction(_BPF_RETURN, 0, 0, _SECCOMP_RET_ALLOW),
    )
    program = _Program(len(instructions), instructions)
    _prctl("prctl(PR_SET_NO_NEW_PRIVS)", _PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    _prctl("prctl(PR_SET_SECCOMP)", _PR_SET_SECCOMP, mode, ctypes.byref(program))
    _libc.syscall(ctypes.c_long(_SYS_GETPPID))
    if not trapped:
        raise OSError("the filter was accepted, but its trap raised no SIGSYS")


def _shared_memory_at_fixed_address() -> None:
    """Map one memfd at each address that the design fixes."""
    descriptor = os.memfd_create("antumbra-probe", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, mmap.PAGESIZE)
    for address in _FIXED_ADDRESSES:
        mapped = _libc.mmap(
            address,
            mmap.PAGESIZE,
            mmap.PROT_READ | mmap.PROT_WRITE,
            mmap.MAP_SHARED | _MAP_FIXED_NOREPLACE,
            descriptor,
            0,
        )
        if mapped != address:
            error = ctypes.get_errno()
            raise OSError(error, f"mmap of a memfd at {address:#x}: {os.strerror(error)}")
    ctypes.memset(_FIXED_ADDRESSES[0], 0x5A, 1)
    if ctypes.string_at(_FIXED_ADDRESSES[1], 1) != b"\x5a":
        raise OSError("two mappings of one memfd do not show the same bytes")


def _tsc_traps() -> None:
    _prctl("prctl(PR_SET_TSC)", _PR_SET_TSC, ctypes.c_ulong(_PR_TSC_SIGSEGV))
    _die_by_default_of(signal.SIGSEGV)
    _execute(_RDTSC)
    raise OSError("prctl(PR_SET_TSC) was accepted, but rdtsc did not trap")


def _cpuid_traps() -> None:
    _checked(
        _libc.syscall(ctypes.c_long(_SYS_ARCH_PRCTL), ctypes.c_long(_ARCH_SET_CPUID), ctypes.c_long(0)),
        "arch_prctl(ARCH_SET_CPUID)",
    )
    _die_by_default_of(signal.SIGSEGV)
    _execute(_CPUID)
    raise OSError("arch_prctl(ARCH_SET_CPUID) was accepted, but cpuid did not trap")


def _fsgsbase() -> None:
    if not _libc.getauxval(_AT_HWCAP2) & _HWCAP2_FSGSBASE:
        raise OSError("AT_HWCAP2 does not show it")
    _die_by_default_of(signal.SIGILL)
    _execute(_RDFSBASE)


def _no_address_randomisation() -> None:
    before = _checked(_libc.personality(ctypes.c_ulong(0xFFFFFFFF)), "personality")
    _checked(_libc.personality(ctypes.c_ulong(before | _ADDR_NO_RANDOMIZE)), "personality(ADDR_NO_RANDOMIZE)")
    if not _libc.personality(ctypes.c_ulong(0xFFFFFFFF)) & _ADDR_NO_RANDOMIZE:
        raise OSError("personality(ADDR_NO_RANDOMIZE) was accepted, but had no effect")


def _child_subreaper() -> None:
    _prctl("prctl(PR_SET_CHILD_SUBREAPER)", _PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def _ptrace() -> None:
    """Read the registers of a stopped child."""
    child = os.fork()
    if child == 0:
        _die_with_parent()
        _libc.ptrace(_PTRACE_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    try:
        os.waitpid(child, os.WUNTRACED)
        registers = ctypes.create_string_buffer(512)
        _checked(_libc.ptrace(_PTRACE_GETREGS, child, None, registers), "ptrace(PTRACE_GETREGS)")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _cpu_pinning() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


# What a process does to try a feature, and the signal that ends it if the feature is there.
_PROBES: dict[str, tuple[Callable[[], None], signal.Signals | None]] = {
    "seccomp": (_seccomp_traps, None),
    "memfd": (_shared_memory_at_fixed_address, None),
    "tsc": (_tsc_traps, signal.SIGSEGV),
    "cpuid": (_cpuid_traps, signal.SIGSEGV),
    "fsgsbase": (_fsgsbase, None),
    "personality": (_no_address_randomisation, None),
    "subreaper": (_child_subreaper, None),
    "ptrace": (_ptrace, None),
    "affinity": (_cpu_pinning, None),
}


def _die_with_parent() -> None:
    _prctl("prctl(PR_SET_PDEATHSIG)", _PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))


def _run_in_child(action: Callable[[], None], writer: int) -> NoReturn:
    try:
        _die_with_parent()
        action()
    except OSError as error:
        os.write(writer, str(error.args[-1]).encode())
    except BaseException as error:
        os.write(writer, repr(error).encode())
    finally:
        os._exit(0)


def _probe(action: Callable[[], None], expected_signal: signal.Signals | None) -> str:
    """Reason why the feature is not there; empty if it is."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _run_in_child(action, writer)
    os.close(writer)
    reason = os.read(reader, 1024).decode(errors="replace")
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if reason or not os.WIFSIGNALED(status) or os.WTERMSIG(status) == expected_signal:
        return reason
    return f"the process that tried it was ended by {signal.Signals(os.WTERMSIG(status)).name}"


def main() -> None:
    """Print a JSON object: for each feature, why it is missing, or an empty string."""
    json.dump({name: _probe(action, ends_by) for name, (action, ends_by) in _PROBES.items()}, sys.stdout)


if __name__ == "__main__":
    main()
