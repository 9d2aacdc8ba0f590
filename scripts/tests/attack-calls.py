#!/usr/bin/env python3
"""attack-calls.py ATTACK [ARGUMENT]: tries one attack, and prints `done` or the error's name.
attack-calls.py with-key PROG...: becomes PROG in a new session whose keyring holds a key.
attack-calls.py handle-of PATH: prints the handle by which PATH can be opened without its name.

None does harm where it is let through: the calls that change the machine get arguments that the
kernel refuses only after it has asked who calls.
"""

import ctypes
import errno
import os
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
# Those that the C library has no function for.
NUMBERS = {
    "x86_64": {"add_key": 248, "keyctl": 250, "init_module": 175, "kexec_load": 246, "reboot": 169, "settimeofday": 164, "clone": 56},
    "aarch64": {"add_key": 217, "keyctl": 219, "init_module": 105, "kexec_load": 104, "reboot": 142, "settimeofday": 170, "clone": 220},
}[os.uname().machine]

SESSION_KEYRING = -3
KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SEARCH, KEYCTL_READ = 1, 10, 11
CLONE_NEWUSER, SIGCHLD = 0x10000000, 17
PTRACE_SEIZE = 0x4206
MAX_HANDLE_SZ, AT_FDCWD = 128, -100


def checked(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result


def call(name, *arguments):
    plain = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return checked(LIBC.syscall(ctypes.c_long(NUMBERS[name]), *plain))


class Handle(ctypes.Structure):
    """A struct file_handle, open_by_handle_at(2)."""

    _fields_ = [("length", ctypes.c_uint), ("type", ctypes.c_int), ("bytes", ctypes.c_ubyte * MAX_HANDLE_SZ)]


def handle_of(path):
    handle, mount = Handle(length=MAX_HANDLE_SZ), ctypes.c_int()
    checked(LIBC.name_to_handle_at(AT_FDCWD, path.encode(), ctypes.byref(handle), ctypes.byref(mount), 0))
    print(bytes(handle).hex())


def handle(text):
    """Opens what lies outside of the root, on the same file system."""
    wanted = Handle.from_buffer_copy(bytes.fromhex(text))
    os.read(checked(LIBC.open_by_handle_at(os.open("/", os.O_RDONLY), ctypes.byref(wanted), os.O_RDONLY)), 1)


def with_key(*prog):
    call("keyctl", KEYCTL_JOIN_SESSION_KEYRING, 0)
    call("add_key", b"user", b"pk-test", b"secret", 6, SESSION_KEYRING)
    os.execvp(prog[0], prog)


def keyring():
    key = call("keyctl", KEYCTL_SEARCH, SESSION_KEYRING, b"user", b"pk-test", 0)
    secret = ctypes.create_string_buffer(16)
    call("keyctl", KEYCTL_READ, key, secret, 16)
    assert secret.value == b"secret"


def unshare_user():
    checked(LIBC.unshare(CLONE_NEWUSER))


def clone_user():
    child = call("clone", CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def init_module():
    """An empty module."""
    call("init_module", b"", 0, b"")


def kexec_load():
    """More segments than there may be, none of them given."""
    call("kexec_load", 0, 1 << 30, 0, 0)


def reboot():
    """Numbers that are not the magic ones."""
    call("reboot", 0, 0, 0, 0)


def settimeofday():
    """No time, and a time zone that does not exist."""
    call("settimeofday", 0, (ctypes.c_int * 2)(1000000, 0))


def ptrace(pid):
    checked(LIBC.ptrace(PTRACE_SEIZE, ctypes.c_long(int(pid)), None, None))


def kill(pid):
    os.kill(int(pid), 0)


def main(attack, *arguments):
    try:
        globals()[attack.replace("-", "_")](*arguments)
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        if attack != "handle-of":
            print("done")


main(*sys.argv[1:])
