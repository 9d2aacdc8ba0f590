//! pk-pty PROG [ARG...]: relay between the caller's terminal and one that PROG has of its own.
//!
//! A program that is given the caller's terminal can type into it (`TIOCSTI`), and what it types is
//! read by the caller's shell. So `pk-chroot-exec --terminal`, at the other end of the chain, opens
//! a terminal of the new root's devpts for PROG, and sends its master here over a socket; this
//! process, outside, carries what is typed there and what is shown back.
#![cfg_attr(not(test), no_main)]

mod console;
mod relay;
mod terminal;

use argh::{ArgsInfo, FromArgs};
use console::{Sockets, receive};
use pk::{CONSOLE_FD, Child, News, Prog, Result, Steps};
use relay::Relay;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use terminal::Caller;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "PROG [ARG...]",
    kind: pk::Kind::Chain,
    words: &[],
    notes: "\
The first link of a chain, whose pk-chroot-exec is given --terminal; between the two only tools of
pk pass on what connects them. Standard input may be a pipe: its end is typed as Ctrl-D.",
    examples: &[(
        "pk-pty pk-ns --mount --pid pk-mounts --standard rootfs pk-chroot-exec --terminal rootfs sh",
        "a shell with job control, which cannot type into the terminal it was started from",
    )],
    see_also: "script(1), pts(4), pty(7), pk-chroot-exec(1)",
};
pk::main!(TOOL, steps);

/// Relay between the caller's terminal and one that PROG has of its own (docker: --tty).
#[derive(FromArgs, ArgsInfo)]
struct Options {}

fn steps(_: Options, operands: Vec<OsString>) -> Result<Steps<Option<Sockets>>> {
    let prog = Prog::find(operands)?;
    let mut steps = Steps::new(None);
    steps.add(
        "through it the terminal's master comes out of the new root, where it is opened",
        "socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC)",
        ": # no command does it; script, in the new root, needs none",
        |sockets| Sockets::pair().map(|pair| *sockets = Some(pair)),
    );
    steps.fork_and_stay(
        "the parent relays between the two terminals",
        "sh; exit",
        |sockets, child| {
            let Sockets { ours, theirs } = sockets.take().expect("made by the first step");
            // Or the child's end would never be the last one.
            drop(theirs);
            attend(child, ours)
        },
    );
    steps.tell(|sockets| {
        let theirs = &sockets.as_ref().expect("made by the first step").theirs;
        (CONSOLE_FD, theirs.as_raw_fd().to_string())
    });
    steps.exec(prog);
    Ok(steps)
}

/// The parent's life: wait for a master, relay, and end with the child's status.
fn attend(mut child: Child, socket: OwnedFd) -> Result<u8> {
    let mut caller = Caller::default();
    let mut socket = Some(socket);
    let mut relay: Option<Relay> = None;
    loop {
        let mut descriptors = vec![PollFd::new(&child, PollFlags::IN)];
        match (&socket, &relay) {
            (_, Some(relay)) => descriptors.extend(relay.waits_for()),
            (Some(socket), None) => descriptors.push(PollFd::new(socket, PollFlags::IN)),
            (None, None) => {}
        }
        match poll(&mut descriptors, None) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        let ready = descriptors.iter().filter(|descriptor| !descriptor.revents().is_empty());
        let ready: Vec<RawFd> = ready.map(|descriptor| descriptor.as_fd().as_raw_fd()).collect();
        if ready.contains(&child.as_fd().as_raw_fd()) {
            match child.news()? {
                None => {}
                Some(News::Ended(status)) => {
                    // What PROG has written last may still lie in its terminal. And it may have
                    // ended before there was a look at the socket.
                    if let Some(master) = socket.take().and_then(|socket| receive(&socket).ok()?) {
                        relay.get_or_insert(Relay::new(master)?);
                    }
                    relay.iter_mut().for_each(Relay::drain);
                    return Ok(status);
                }
                Some(News::Stopped) => {
                    caller.stop_with_the_job(relay.as_ref().map(Relay::master))?;
                }
                Some(News::Signal(signal)) => {
                    match (signal.number, &relay) {
                        (terminal::WINDOW_CHANGED, Some(relay)) => {
                            terminal::copy_size(relay.master());
                        }
                        // Whoever stopped this process may have changed the terminal's mode.
                        (terminal::CONTINUED, Some(relay)) => caller.enter(relay.master())?,
                        _ => {}
                    }
                    child.forward(signal)?;
                }
            }
        } else if let Some(relay) = &mut relay {
            relay.carry(&ready);
        } else if let Some(waiting) = socket.take() {
            // Nothing comes where no link of the chain opens a terminal.
            if let Some(master) = receive(waiting.as_fd())? {
                caller.enter(master.as_fd())?;
                relay = Some(Relay::new(master)?);
            }
        }
    }
}
