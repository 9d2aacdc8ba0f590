//! The ABIs by which a process may enter the kernel, and how each one numbers the system calls.
//!
//! A machine has more than one: a 64-bit program on x86-64 may also make the calls of i386 (with
//! `int 0x80`) and those of x32. A filter that knew only the native numbers would be no filter.

#[cfg(any(test, target_arch = "aarch64"))]
use syscalls::{aarch64, arm};
use syscalls::{x86, x86_64};

/// One set of system calls.
#[derive(Debug)]
pub struct Abi {
    /// As a profile calls it.
    pub name: &'static str,
    /// What the kernel tells a filter, `AUDIT_ARCH_…` of `<linux/audit.h>`.
    pub audit: u32,
    /// Whether arguments have 64 bits; else the kernel looks at the lower 32 only.
    pub wide: bool,
    /// The numbers with their names, ascending.
    pub numbers: fn() -> Vec<(u32, &'static str)>,
    /// Calls that are also reached through another one, whose first argument says which.
    pub multiplexed: &'static [Multiplexer],
}

/// A call that stands for others: its name, and what the first argument means.
#[derive(Debug)]
pub struct Multiplexer {
    pub name: &'static str,
    pub calls: &'static [(u32, &'static str)],
}

/// Added to the number of a call that is made by x32. `<asm/unistd.h>`, `__X32_SYSCALL_BIT`.
pub const X32_BIT: u32 = 0x4000_0000;

pub static X86_64: Abi = Abi {
    name: "SCMP_ARCH_X86_64",
    audit: 0xc000_003e,
    wide: true,
    numbers: || x86_64::Sysno::iter().map(|call| row(call.id(), call.name())).collect(),
    multiplexed: &[],
};

pub static X86: Abi = Abi {
    name: "SCMP_ARCH_X86",
    audit: 0x4000_0003,
    wide: false,
    numbers: || x86::Sysno::iter().map(|call| row(call.id(), call.name())).collect(),
    multiplexed: &[SOCKETCALL, IPC],
};

/// x32 shares x86-64's `audit` and most of its numbers.
pub static X32: Abi = Abi {
    name: "SCMP_ARCH_X32",
    audit: X86_64.audit,
    wide: false,
    numbers: x32_numbers,
    multiplexed: &[],
};

#[cfg(any(test, target_arch = "aarch64"))]
pub static AARCH64: Abi = Abi {
    name: "SCMP_ARCH_AARCH64",
    audit: 0xc000_00b7,
    wide: true,
    numbers: || aarch64::Sysno::iter().map(|call| row(call.id(), call.name())).collect(),
    multiplexed: &[],
};

#[cfg(any(test, target_arch = "aarch64"))]
pub static ARM: Abi = Abi {
    name: "SCMP_ARCH_ARM",
    audit: 0x4000_0028,
    wide: false,
    numbers: || arm::Sysno::iter().map(|call| row(call.id(), call.name())).collect(),
    multiplexed: &[],
};

/// What this machine's processes can use, the native one first.
#[cfg(target_arch = "x86_64")]
pub static OF_THIS_MACHINE: [&Abi; 3] = [&X86_64, &X86, &X32];
/// The native one, as the conditions of a profile call it, which is as Go does.
#[cfg(target_arch = "x86_64")]
pub const GO_NAME: &str = "amd64";

/// What this machine's processes can use, the native one first.
#[cfg(target_arch = "aarch64")]
pub static OF_THIS_MACHINE: [&Abi; 2] = [&AARCH64, &ARM];
/// The native one, as the conditions of a profile call it, which is as Go does.
#[cfg(target_arch = "aarch64")]
pub const GO_NAME: &str = "arm64";

/// By the names that profiles use: the table spells a word of Rust's `r#break`, and calls one of
/// aarch64's after its manual page.
fn row(number: i32, name: &'static str) -> (u32, &'static str) {
    let name = match name {
        "fstatat" => "newfstatat",
        _ => name.strip_prefix("r#").unwrap_or(name),
    };
    (number.cast_unsigned(), name)
}

/// From 512 on: calls whose arguments x32 lays out in another way. `syscall_64.tbl` of the kernel.
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// Calls of x86-64 that x32 never had.
const NOT_IN_X32: [&str; 12] = [
    "_sysctl",
    "create_module",
    "epoll_ctl_old",
    "epoll_wait_old",
    "get_kernel_syms",
    "get_thread_area",
    "map_shadow_stack",
    "nfsservctl",
    "query_module",
    "set_thread_area",
    "uselib",
    "vserver",
];

fn x32_numbers() -> Vec<(u32, &'static str)> {
    let mut apart = [&X32_OWN[..], &NOT_IN_X32].concat();
    apart.sort_unstable();
    let shared = (X86_64.numbers)().into_iter();
    let shared = shared.filter(|(_, name)| apart.binary_search(name).is_err());
    let own = (512..).zip(X32_OWN);
    shared.chain(own).map(|(number, name)| (number | X32_BIT, name)).collect()
}

/// `socketcall(2)`; the numbers are those of `<linux/net.h>`.
const SOCKETCALL: Multiplexer = Multiplexer {
    name: "socketcall",
    calls: &[
        (1, "socket"),
        (2, "bind"),
        (3, "connect"),
        (4, "listen"),
        (5, "accept"),
        (6, "getsockname"),
        (7, "getpeername"),
        (8, "socketpair"),
        (9, "send"),
        (10, "recv"),
        (11, "sendto"),
        (12, "recvfrom"),
        (13, "shutdown"),
        (14, "setsockopt"),
        (15, "getsockopt"),
        (16, "sendmsg"),
        (17, "recvmsg"),
        (18, "accept4"),
        (19, "recvmmsg"),
        (20, "sendmmsg"),
    ],
};

/// `ipc(2)`; the numbers are those of `<linux/ipc.h>`.
const IPC: Multiplexer = Multiplexer {
    name: "ipc",
    calls: &[
        (1, "semop"),
        (2, "semget"),
        (3, "semctl"),
        (4, "semtimedop"),
        (11, "msgsnd"),
        (12, "msgrcv"),
        (13, "msgget"),
        (14, "msgctl"),
        (21, "shmat"),
        (22, "shmdt"),
        (23, "shmget"),
        (24, "shmctl"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_the_number_of_its_abi() {
        let table = [
            (&X86_64, "read", Some(0)),
            (&X86_64, "execveat", Some(322)),
            (&X86_64, "socketcall", None),
            (&X86, "read", Some(3)),
            (&X86, "break", Some(17)),
            (&X86, "socketcall", Some(102)),
            (&X32, "read", Some(X32_BIT)),
            (&X32, "ioctl", Some(X32_BIT + 514)),
            (&X32, "pwritev2", Some(X32_BIT + 547)),
            (&X32, "uselib", None),
            (&AARCH64, "openat", Some(56)),
            (&AARCH64, "newfstatat", Some(79)),
            (&AARCH64, "open", None),
            (&ARM, "open", Some(5)),
        ];
        for (abi, name, number) in table {
            let found = (abi.numbers)().into_iter().find(|row| row.1 == name).map(|row| row.0);
            assert_eq!(found, number, "{name} in {}", abi.name);
        }
    }

    #[test]
    fn numbers_ascend() {
        for abi in [&X86_64, &X86, &X32, &AARCH64, &ARM] {
            assert!((abi.numbers)().is_sorted_by(|one, next| one.0 < next.0), "{}", abi.name);
        }
    }
}
