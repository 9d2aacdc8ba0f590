//! `--terminal` and `--new-session`: PROG cannot type into the caller's terminal.
#![allow(unsafe_code)]

use crate::TOOL;
use crate::contract::{Stage, copy, is_root, private_mounts, run, skip};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{self, File};
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

/// A terminal: its master, and its slave.
fn terminal() -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    (File::from(master), slave)
}

/// What is shown, up to and with a text.
fn read_until(master: &mut File, text: &str) -> String {
    let mut shown = String::new();
    let mut bytes = [0; 4096];
    while !shown.contains(text) {
        let mut ready = [PollFd::new(master, PollFlags::IN)];
        let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert!(poll(&mut ready, Some(&patience)).unwrap() > 0, "no {text:?}: {shown}");
        // EIO: nobody has the other side open any more.
        let Ok(length @ 1..) = master.read(&mut bytes) else { panic!("no {text:?}: {shown}") };
        shown += &String::from_utf8_lossy(&bytes[..length]);
    }
    shown
}

/// The tool with a PROG, in a mount namespace where ROOT has a proc and a devpts, or none.
fn command(stage: &Stage, devpts: bool, options: &[&str], prog: &[&str]) -> Command {
    let mount = "mount --rbind /proc \"$0/proc\" && mkdir -p \"$0/dev/pts\" && \
        { $DEVPTS || mount -t devpts -o newinstance,ptmxmode=0666 devpts \"$0/dev/pts\"; } && exec \"$@\"";
    let mut command = private_mounts();
    command.args(["sh", "-c", mount]).arg(stage.root()).args(stage.line(options)).args(prog);
    command.env("DEVPTS", if devpts { "false" } else { "true" }).current_dir(stage.directory());
    command
}

/// Plays pk-pty: the socket's number in the environment, and the master that comes over it.
fn receive(command: &mut Command) -> (std::process::Child, File) {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::empty());
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None).unwrap();
    command.env("PK_CONSOLE_FD", theirs.as_raw_fd().to_string());
    let child = command.spawn().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(&ours, &mut [IoSliceMut::new(&mut [0])], &mut control, flags).unwrap();
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    (child, File::from(descriptors.flatten().next().unwrap()))
}

#[test]
fn the_terminal_is_roots_own() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    let script =
        "read line; busybox tty; busybox stty size; ls -1 /dev/pts /proc/self/fd; cat; exit 9";
    let mut command = command(&stage, true, &["--terminal"], &["sh", "-c", script]);
    let (mut child, mut master) = receive(command.stdin(Stdio::null()));
    tcsetwinsize(&master, Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    master.write_all(b"\n").unwrap();
    let shown = read_until(&mut master, "\r\n3\r\n");
    assert_eq!(
        shown.replace('\r', ""),
        "\n/dev/pts/0\n33 77\n/dev/pts:\n0\nptmx\n\n/proc/self/fd:\n0\n1\n2\n3\n"
    );
    master.write_all(b"copied\n").unwrap();
    read_until(&mut master, "copied\r\ncopied\r\n");
    master.write_all(b"\x04").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn ctrl_c_reaches_the_group_in_the_foreground() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    let script = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 1; done";
    let mut command = command(&stage, true, &["--terminal"], &["sh", "-c", script]);
    let (mut child, mut master) = receive(command.stdin(Stdio::null()));
    read_until(&mut master, "ready");
    master.write_all(b"\x03").unwrap();
    read_until(&mut master, "caught");
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn the_terminal_is_the_users() {
    if !is_root() {
        return skip("becoming another user needs root");
    }
    let Some(stage) = Stage::set(&TOOL) else { return };
    let options = ["--terminal", "--user", "1234:1235"];
    let script = "ls -ln /dev/pts/0 | cut -c 1-10; id -u; echo open > /dev/pts/0; ls -n /dev/pts/0";
    let mut command = command(&stage, true, &options, &["sh", "-c", script]);
    let (mut child, mut master) = receive(command.stdin(Stdio::null()));
    let shown = read_until(&mut master, "/dev/pts/0\r\n");
    assert!(shown.starts_with("crw") && shown.contains("\r\n1234\r\nopen\r\n"), "{shown}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_missing_is_named() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    let pty = "pk-chroot-exec: --terminal: there is no pk-pty to show the terminal\nhint: begin the \
        chain with it; programs in between that are not pk's do not pass it on\n";
    for number in ["", "x", "77"] {
        let mut command = command(&stage, true, &["--terminal"], &["true"]);
        let outcome = run(command.env("PK_CONSOLE_FD", number));
        assert_eq!(outcome, (125, String::new(), pty.to_owned()), "{number}");
    }
    let devpts = "pk-chroot-exec: openat2(\"/dev/pts/ptmx\"): ROOT has no devpts\n\
        hint: pk-mounts --dev, or --standard, mounts one on /dev/pts\n";
    let mut command = command(&stage, false, &["--terminal"], &["true"]);
    assert_eq!(run(command.env("PK_CONSOLE_FD", "2")), (125, String::new(), devpts.to_owned()));
    // A file that calls itself ptmx is none.
    fs::create_dir_all(stage.root().join("dev/pts")).unwrap();
    fs::write(stage.root().join("dev/pts/ptmx"), "").unwrap();
    assert_eq!(run(command.env("PK_CONSOLE_FD", "2")), (125, String::new(), devpts.to_owned()));
}

#[test]
fn a_session_can_be_new_without_a_terminal() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    let show = [
        "sh",
        "-c",
        "read pid name state parent group session rest < /proc/self/stat; \
        [ $pid = $session ] && echo leads",
    ];
    let outcome = |options: &[&str]| run(&mut command(&stage, false, options, &show)).1;
    assert_eq!([outcome(&["--new-session"]), outcome(&[])], ["leads\n", ""]);
}

/// Types a line into the terminal on standard input, as if its user had. Run inside ROOT.
#[test]
#[ignore = "run inside ROOT by the test that follows"]
fn type_a_line() {
    for byte in b"typed\n" {
        // SAFETY: TIOCSTI reads one byte, which lives until it returns.
        unsafe { libc::ioctl(std::io::stdin().as_fd().as_raw_fd(), libc::TIOCSTI, byte) };
    }
}

/// As a user without capabilities: `CAP_SYS_ADMIN` may type into any terminal that it has open.
#[test]
fn prog_cannot_type_into_the_callers_terminal() {
    if !is_root() {
        return skip("becoming another user needs root");
    }
    if fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|word| word.trim() == "0") {
        return skip("this kernel has no TIOCSTI for anybody (dev.tty.legacy_tiocsti)");
    }
    let Some(stage) = Stage::set(&TOOL) else { return };
    assert!(copy(std::env::current_exe().unwrap(), stage.root().join("type")));
    let prog = ["/type", "--exact", "terminal::type_a_line", "--ignored"];
    for (option, read) in [("", "typed"), ("--new-session", "own"), ("--terminal", "own")] {
        let options: Vec<&str> =
            ["--user", "1234:1234", option].into_iter().filter(|o| !o.is_empty()).collect();
        let tool = command(&stage, true, &options, &prog);
        // A shell that starts PROG and then reads a command.
        let script = "\"$@\" > result 2>&1; read line; echo \"read: $line\"";
        let (mut master, slave) = terminal();
        let mut caller = Command::new("setsid");
        caller.args(["--ctty", "sh", "-c", script, "sh"]).arg(tool.get_program());
        caller.args(tool.get_args()).env("DEVPTS", "false").current_dir(stage.directory());
        caller.stdin(slave.try_clone().unwrap()).stdout(slave);
        let (mut child, _master) = if option == "--terminal" {
            let (child, inner) = receive(&mut caller);
            (child, Some(inner))
        } else {
            (caller.spawn().unwrap(), None)
        };
        // Its own copies of the slave would keep the terminal alive.
        drop(caller);
        if read == "own" {
            master.write_all(b"own\n").unwrap();
        }
        read_until(&mut master, &format!("read: {read}\r\n"));
        assert!(child.wait().unwrap().success(), "{option}");
    }
}
