//! probe [CALL...]: makes system calls, each in a child of its own, and prints what became of it.
//!
//! CALL is ABI:NUMBER[:ARGUMENT...], where ABI is `x86_64`, `x32` or `i386`; `thread:` in front has it made
//! by a second thread. Without CALL every number of each ABI is called with arguments that can do
//! no harm, because they mean nothing: all bits set, which is no address, no descriptor and no
//! process. It is to be run in namespaces all the same. `scripts/tests/seccomp` compares what it
//! prints under two filters.
//!
//! It needs no libc and no file of the root that it runs in.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod calls {
    use std::arch::asm;
    use std::fmt::Write;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    const X32_BIT: u64 = 0x4000_0000;
    /// What no call returns.
    const RUNNING: i64 = i64::MIN;
    const THREAD_DIED: i64 = i64::MIN + 1;

    struct Call {
        abi: String,
        number: u64,
        arguments: [u64; 6],
        in_thread: bool,
    }

    pub fn main() {
        let given: Vec<Call> = std::env::args().skip(1).map(|word| parse(&word)).collect();
        let calls = if given.is_empty() { all() } else { given };
        let slot = shared();
        let mut text = String::new();
        for call in &calls {
            let outcome = outcome(call, slot);
            writeln!(text, "{} {:#x} {outcome}", call.abi, call.number).unwrap();
        }
        print!("{text}");
    }

    /// Beyond the newest call, where x32's own numbers are, and at the ends of the ABIs.
    fn all() -> Vec<Call> {
        let numbers = (0..=480).chain(508..=550).chain([0x3fff_ffff]);
        let high = [0x8000_0000, 0xbfff_ffff, 0xc000_0000, 0xffff_fffe, 0xffff_ffff];
        let call = |abi: &str, number| Call {
            abi: abi.to_owned(),
            number,
            arguments: [u64::MAX; 6],
            in_thread: false,
        };
        let mut calls = Vec::new();
        calls.extend(numbers.clone().chain(high).map(|number| call("x86_64", number)));
        calls.extend(numbers.clone().map(|number| call("x32", number)));
        calls.extend(numbers.chain(high).map(|number| call("i386", number)));
        calls
    }

    fn parse(word: &str) -> Call {
        let (rest, in_thread) = match word.strip_prefix("thread:") {
            Some(rest) => (rest, true),
            None => (word, false),
        };
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).expect("a number"),
            None => text.parse().expect("a number"),
        };
        let mut parts = rest.split(':');
        let abi = parts.next().expect("an ABI").to_owned();
        let mut numbers = parts.map(number);
        let call = numbers.next().expect("a call's number");
        let arguments = [(); 6].map(|()| numbers.next().unwrap_or(0));
        Call { abi, number: call, arguments, in_thread }
    }

    /// Memory in which a child leaves what its call returned, however it ends.
    fn shared() -> &'static AtomicI64 {
        let (access, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at a place of the kernel's choice, page-aligned, zeroed, never unmapped.
        unsafe {
            let place = libc::mmap(null_mut(), 4096, access, flags, -1, 0);
            assert_ne!(place, libc::MAP_FAILED);
            &*place.cast::<AtomicI64>()
        }
    }

    fn outcome(call: &Call, slot: &'static AtomicI64) -> String {
        slot.store(RUNNING, Ordering::SeqCst);
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork");
        if child == 0 {
            make_in_child(call, slot);
        }
        let Some(status) = wait(child) else { return "waits".to_owned() };
        match slot.load(Ordering::SeqCst) {
            THREAD_DIED => "ended its thread".to_owned(),
            RUNNING if libc::WIFSIGNALED(status) => format!("signal {}", libc::WTERMSIG(status)),
            RUNNING => "ended its process".to_owned(),
            errno @ -4095..0 => format!("errno {}", -errno),
            // Not all values are the same each time: process ids, addresses.
            _ => "ok".to_owned(),
        }
    }

    /// How a child ended; none where it had to be ended, after half a second.
    fn wait(child: i32) -> Option<i32> {
        let mut status = 0;
        // SAFETY: the child was not waited for, so that its number is still its own; poll is given
        // one structure, and waitpid one integer to write to.
        unsafe {
            let handle = libc::syscall(libc::SYS_pidfd_open, child, 0);
            let fd = i32::try_from(handle).expect("a descriptor");
            assert!(fd >= 0, "pidfd_open");
            let mut handle = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            let has_ended = libc::poll(&raw mut handle, 1, 500) == 1;
            if !has_ended {
                libc::kill(child, libc::SIGKILL);
            }
            libc::waitpid(child, &raw mut status, 0);
            libc::close(fd);
            has_ended.then_some(status)
        }
    }

    fn make_in_child(call: &Call, slot: &'static AtomicI64) -> ! {
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the one reads a structure that outlives the call; the other one takes away a handler
        // of Rust's, which would go on after a sigreturn that failed.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        }
        if call.in_thread {
            let (abi, number, arguments) = (call.abi.clone(), call.number, call.arguments);
            std::thread::spawn(move || slot.store(make(&abi, number, arguments), Ordering::SeqCst));
            std::thread::sleep(Duration::from_millis(100));
            let _ = slot.compare_exchange(RUNNING, THREAD_DIED, Ordering::SeqCst, Ordering::SeqCst);
        } else {
            slot.store(make(&call.abi, call.number, call.arguments), Ordering::SeqCst);
        }
        // SAFETY: ends this child without running what its parent registered.
        unsafe { libc::_exit(0) }
    }

    fn make(abi: &str, number: u64, arguments: [u64; 6]) -> i64 {
        match abi {
            "x86_64" => syscall(number, arguments),
            "x32" => syscall(number | X32_BIT, arguments),
            "i386" => int80(number, arguments),
            _ => panic!("no such ABI: {abi}"),
        }
    }

    /// The stack pointer is put aside: sigreturn takes what lies there for the state to go on with,
    /// and shall find nothing. A child of fork or vfork ends at once: the latter has its parent's stack,
    /// and both have the memory for the outcome.
    fn syscall(number: u64, arguments: [u64; 6]) -> i64 {
        let result;
        let ends_a_child = u64::from([57, 58].contains(&(number & !X32_BIT)));
        // SAFETY: the arguments are no addresses of this process, whatever the call is; all
        // registers that it changes are named, and the stack is as it was afterwards.
        unsafe {
            asm!(
                "mov r12, rsp", "xor esp, esp", "syscall", "mov rsp, r12",
                "test rax, rax", "jnz 2f", "test r13, r13", "jz 2f",
                "mov eax, 231", "xor edi, edi", "syscall", "ud2", "2:",
                inlateout("rax") number => result,
                in("rdi") arguments[0], in("rsi") arguments[1], in("rdx") arguments[2],
                in("r10") arguments[3], in("r8") arguments[4], in("r9") arguments[5],
                in("r13") ends_a_child, lateout("rcx") _, lateout("r11") _, out("r12") _,
            );
        }
        result
    }

    /// The same by the way of a 32-bit program, which the kernel offers to a 64-bit one too.
    fn int80(number: u64, arguments: [u64; 6]) -> i64 {
        let result: u64;
        let ends_a_child = u64::from([2, 190].contains(&number));
        // SAFETY: as above; rbx and rbp are put back, which the compiler does not give away.
        unsafe {
            asm!(
                "mov r12, rsp", "mov r13, rbx", "mov r14, rbp",
                "mov ebx, r8d", "mov ebp, r9d", "xor esp, esp", "int 0x80",
                "mov rsp, r12", "mov rbx, r13", "mov rbp, r14",
                "test eax, eax", "jnz 2f", "test r15, r15", "jz 2f",
                "mov eax, 231", "xor edi, edi", "syscall", "ud2", "2:",
                inlateout("rax") number => result,
                inlateout("r8") arguments[0] => _, in("rcx") arguments[1], in("rdx") arguments[2],
                in("rsi") arguments[3], in("rdi") arguments[4], inlateout("r9") arguments[5] => _,
                lateout("r10") _, lateout("r11") _, out("r12") _, out("r13") _, out("r14") _,
                in("r15") ends_a_child,
            );
        }
        // A 32-bit result, whose sign the kernel may or may not have extended.
        let low = u32::try_from(result & 0xffff_ffff).expect("masked");
        i64::from(low.cast_signed())
    }
}

#[cfg(target_arch = "x86_64")]
fn main() {
    calls::main();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    eprintln!("probe: it is written for x86-64");
    std::process::exit(1);
}
